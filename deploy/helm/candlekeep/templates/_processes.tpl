{{/*
What each process needs, as YAML. `database` is the end of its login's name. `secrets`: the setting, and the key of the
Secret that contains it. `port` is the one that the process listens on, and `outside` are ports of public addresses that
it connects to.
*/}}
{{- define "candlekeep.processes" -}}
admin-api:
  port: 8000
  kafka: true
  database: admin_api
  outside: {{ if .Values.notifications.enabled }}{{ toJson .Values.notifications.ports }}{{ else }}[]{{ end }}
  secrets:
    DATABASE_PASSWORD: admin_api_database_password
    CANDLEKEEP_ADMIN_TOKEN: admin_token
    {{- if .Values.notifications.enabled }}
    NOTIFY_URLS: notify_urls
    {{- end }}
scheduler:
  port: 8001
  kafka: true
collector:
  port: 8002
  kafka: true
  outside: [443]
log-writer:
  port: 8003
  kafka: true
  database: log_writer
  secrets: { DATABASE_PASSWORD: log_writer_database_password }
candle-writer:
  port: 8004
  kafka: true
  database: candle_writer
  secrets: { DATABASE_PASSWORD: candle_writer_database_password }
backfiller:
  port: 8005
  kafka: true
  database: backfiller
  secrets: { DATABASE_PASSWORD: backfiller_database_password }
{{- end -}}

{{/* The same for the jobs. Their order is that of the weights. */}}
{{- define "candlekeep.jobs" -}}
roles:
  enabled: {{ .Values.jobs.roles }}
  weight: 1
  command: [python, -m, store, roles]
  database: admin
  secrets:
    DATABASE_PASSWORD: postgres_password
    MIGRATIONS_DATABASE_PASSWORD: migrations_database_password
    ADMIN_API_DATABASE_PASSWORD: admin_api_database_password
    LOG_WRITER_DATABASE_PASSWORD: log_writer_database_password
    CANDLE_WRITER_DATABASE_PASSWORD: candle_writer_database_password
    BACKFILLER_DATABASE_PASSWORD: backfiller_database_password
    TOKENS_DATABASE_PASSWORD: tokens_database_password
    READER_DATABASE_PASSWORD: reader_database_password
migrate:
  enabled: {{ .Values.jobs.migrate }}
  weight: 2
  command: [python, -m, store, upgrade]
  database: migrations
  secrets: { DATABASE_PASSWORD: migrations_database_password }
topics:
  enabled: {{ and .Values.jobs.topics (not .Values.strimzi.enabled) }}
  weight: 3
  command: [python, -m, runtime.kafka.topics, provision]
  kafka: true
{{- end -}}

{{- define "candlekeep.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "candlekeep.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* The environment that services and jobs share: (list $ process). Settings of the values come last and replace others. */}}
{{- define "candlekeep.environment" -}}
{{- $root := index . 0 -}}
{{- $process := index . 1 -}}
{{- $values := $root.Values -}}
{{- $env := dict -}}
{{- if $process.kafka -}}
{{- $_ := set $env "KAFKA_BOOTSTRAP_SERVERS" $values.kafka.bootstrapServers -}}
{{- with $values.kafka.topicPrefix -}}{{- $_ := set $env "KAFKA_TOPIC_PREFIX" . -}}{{- end -}}
{{- end -}}
{{- with $process.database -}}
{{- $user := ternary $values.database.adminUser (printf "%s_%s" $values.database.rolePrefix .) (eq . "admin") -}}
{{- $_ := set $env "DATABASE_URL" (include "candlekeep.databaseUrl" (list $root $user)) -}}
{{- end -}}
{{- range $setting, $key := $process.secrets -}}
{{- $_ := set $env (printf "%s_FILE" $setting) (printf "/run/secrets/candlekeep/%s" $setting) -}}
{{- end -}}
{{- range $setting, $source := $values.secrets.extra -}}
{{- $_ := set $env (printf "%s_FILE" $setting) (printf "/run/secrets/candlekeep/%s" $setting) -}}
{{- end -}}
{{- range $setting, $value := merge (dict) $process.env $values.env $env }}
- name: {{ $setting }}
  value: {{ $value | toString | quote }}
{{- end -}}
{{- end -}}

{{/* The volumes of a pod: (list $ process). Each process gets only its own keys. */}}
{{- define "candlekeep.volumes" -}}
{{- $root := index . 0 -}}
{{- $process := index . 1 -}}
{{- $secrets := $root.Values.secrets -}}
{{- $sources := list -}}
{{- range $setting, $key := $process.secrets -}}
{{- $other := get $secrets.overrides $key | default dict -}}
{{- $items := list (dict "key" ($other.key | default $key) "path" $setting) -}}
{{- $sources = append $sources (dict "secret" (dict "name" ($other.secret | default $secrets.existingSecret) "items" $items)) -}}
{{- end -}}
{{- range $setting, $source := $secrets.extra -}}
{{- $items := list (dict "key" $source.key "path" $setting) -}}
{{- $sources = append $sources (dict "secret" (dict "name" $source.secret "items" $items)) -}}
{{- end -}}
- name: tmp
  emptyDir: { sizeLimit: 64Mi }
{{- with $sources }}
- name: secrets
  projected:
    defaultMode: 0440
    sources: {{- toYaml . | nindent 6 }}
{{- end }}
{{- with $root.Values.certificates.secret }}
- name: certificates
  secret: { secretName: {{ . }}, defaultMode: 0440 }
{{- end }}
{{- end -}}

{{- define "candlekeep.volumeMounts" -}}
{{- $root := index . 0 -}}
{{- $process := index . 1 -}}
- { name: tmp, mountPath: /tmp }
{{- if or $process.secrets $root.Values.secrets.extra }}
- { name: secrets, mountPath: /run/secrets/candlekeep, readOnly: true }
{{- end }}
{{- if $root.Values.certificates.secret }}
- { name: certificates, mountPath: /etc/candlekeep/certificates, readOnly: true }
{{- end }}
{{- end -}}

{{/* The parts of a pod that depend on the cluster. */}}
{{- define "candlekeep.placement" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- include "candlekeep.podSecurity" . | nindent 2 }}
{{- end -}}
