{{- define "candlekeep.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{ ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* The labels that select the pods of one component: (list $ component). Without a component: all pods. */}}
{{- define "candlekeep.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* All labels of an object: (list $ component). */}}
{{- define "candlekeep.labels" -}}
{{- $root := index . 0 -}}
{{ include "candlekeep.selector" . }}
app.kubernetes.io/part-of: candlekeep
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The image of a service: (list $ service). */}}
{{- define "candlekeep.image" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $service := index $root.Values.services $name -}}
{{ $service.image | default (printf "%s%s:%s" $root.Values.image.prefix $name ($root.Values.image.tag | default $root.Chart.AppVersion)) }}
{{- end -}}

{{/* The address of the database for a login: (list $ user). */}}
{{- define "candlekeep.databaseUrl" -}}
{{- $database := (index . 0).Values.database -}}
postgresql://{{ index . 1 }}@{{ $database.host }}:{{ $database.port }}/{{ $database.name }}{{ with $database.parameters }}?{{ . }}{{ end }}
{{- end -}}

{{/* The ports of Kafka as a JSON list, from the addresses and the extra ports. */}}
{{- define "candlekeep.kafkaPorts" -}}
{{- $ports := list -}}
{{- range splitList "," .Values.kafka.bootstrapServers -}}
{{- $ports = append $ports (. | trim | splitList ":" | last | int) -}}
{{- end -}}
{{- range .Values.kafka.extraPorts -}}
{{- $ports = append $ports (int .) -}}
{{- end -}}
{{ $ports | uniq | toJson }}
{{- end -}}

{{/* The port of the endpoint for traces: that of its address, or the default of its scheme. */}}
{{- define "candlekeep.tracingPort" -}}
{{- $address := urlParse .Values.tracing.endpoint -}}
{{ regexFind ":[0-9]+$" $address.host | trimPrefix ":" | default (ternary "443" "80" (eq $address.scheme "https")) }}
{{- end -}}
