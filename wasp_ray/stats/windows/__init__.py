"""The format of windows.bin: seconds as columns of integers in compressed members."""
