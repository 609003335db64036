"""How workers come to life and end: the zygote, the inline runtime, the fleet's decisions."""
