#!/bin/bash
# shellcheck disable=SC2086 # the options are several words
exec java ${KAFKA_HEAP_OPTS:--Xmx256m} -Djava.awt.headless=true -cp '/opt/kafka/libs/*' "$@"
