"""The client of all tests of this folder: it deploys one of them, follows it and gives its verdict.

It needs none of what the tests import. Every option may come from the environment, so a pipeline needs no client of its own:

TARGET_URL=http://shop.example WASP_CLUSTER_TEST=node_users.py WASP_CLUSTER_JOBS=10 python cluster_test.py

`pytest cluster_test.py` works too.
"""

import os
import sys
from pathlib import Path

from wasp_ray.cluster import ClusterConfig, ClusterProfile

setting = os.environ.get


def config() -> ClusterConfig:
    """What this group of tests has in common; what is not here comes from WASP_CLUSTER_*, wasp.toml or the defaults."""
    return ClusterConfig(
        test=setting("WASP_CLUSTER_TEST", "node_rate.py"),  # FILE:NAME inside the image
        image=setting("WASP_CLUSTER_IMAGE", "wasp_test:latest"),
        jobs=setting("WASP_CLUSTER_JOBS", "2"),
        timeout=setting("WASP_CLUSTER_TIMEOUT", "15m"),
        build_root=Path(__file__).parent,  # WASP_CLUSTER_UPDATE_IMAGE=1 builds and pushes the image first
        env={"TARGET_URL": os.environ["TARGET_URL"]},
        values={
            "env.loki.url": setting("LOKI_URL", ""),
            "env.loki.token": setting("LOKI_TOKEN", ""),
            "env.wasp.log_level": setting("WASP_LOG_LEVEL", "info"),
            "resources.requests.cpu": "500m",
            "resources.requests.memory": "512Mi",
            "resources.limits.memory": "512Mi",
        },
    )


def test_the_load_passes() -> None:
    """For pytest: raises unless the verdict is passed."""
    ClusterProfile(config()).run().raise_for_verdict()


if __name__ == "__main__":
    sys.exit(ClusterProfile(config()).run().exit_code)
