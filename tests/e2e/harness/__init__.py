"""A real Kubernetes on this machine, built from package registries, with a proxy that injects faults.

`tools` builds programs, `certs` makes certificates, `processes` and `leftovers` start and end what runs, `control_plane`
and `node` configure it, `cluster` ties that together, `images` and `docker` make container images, `audit` reads what was
asked of the API server, `proxy` disturbs it, `kwok` adds nodes that only pretend. Nothing of wasp_ray is imported here.
"""
