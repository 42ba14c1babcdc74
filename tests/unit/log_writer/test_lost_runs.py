from aiokafka.partitioner import DefaultPartitioner

from contracts.topics import RUN_EVENTS
from log_writer.lost_runs import partition_of


def test_the_partition_of_a_config_is_the_one_that_the_producer_chooses() -> None:
    partitions = list(range(RUN_EVENTS.partitions))
    produce_to = DefaultPartitioner()
    for config_id in range(1, 500):
        assert partition_of(config_id) == produce_to(str(config_id).encode(), partitions, partitions)
