"""Several nodes as one run: on this machine, in Kubernetes, on Ray. Imported as `wasp_ray.cluster`."""
