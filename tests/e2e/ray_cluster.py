"""Two Ray nodes on this machine, until this process ends. Prints {"address", "raylets": [PID...]}.

A process of its own, because Ray starts threads, and warns of much.
"""

from __future__ import annotations

import json
import signal

from ray.cluster_utils import Cluster

NODE = {"num_cpus": 2, "object_store_memory": 80 * 2**20}
# A lost node is to be noticed within seconds, not half a minute.
NOTICE = {"health_check_initial_delay_ms": 2000, "health_check_period_ms": 1000,
          "health_check_failure_threshold": 5}  # fmt: skip


def main() -> None:
    """Start them, say so, and wait."""
    head = {**NODE, "include_dashboard": False, "_system_config": NOTICE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    other = cluster.add_node(**NODE)
    raylets = [node.all_processes["raylet"][0].process.pid for node in (cluster.head_node, other)]
    print(json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
