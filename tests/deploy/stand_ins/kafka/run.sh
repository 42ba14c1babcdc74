#!/bin/bash
# Writes server.properties from the variables, formats the storage at the first start, and becomes the broker.
set -euo pipefail
properties=/opt/kafka/config/server.properties
: > "$properties"
while IFS='=' read -r name value; do
  case $name in
    KAFKA_HEAP_OPTS | KAFKA_JVM_PERFORMANCE_OPTS | KAFKA_LOG4J_OPTS) ;;
    KAFKA_*) name=${name#KAFKA_} && name=${name,,} && echo "${name//_/.}=$value" >> "$properties" ;;
  esac
done < <(env)
/opt/kafka/bin/kafka-run-class.sh kafka.tools.StorageTool format --ignore-formatted --cluster-id="$CLUSTER_ID" -c "$properties"
exec /opt/kafka/bin/kafka-run-class.sh kafka.Kafka "$properties"
