{{- define "kafkalab.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What finds the pods of one part of one release: (list . "exporter"). */}}
{{- define "kafkalab.selector" -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- end -}}

{{- define "kafkalab.labels" -}}
{{ include "kafkalab.selector" . }}
app.kubernetes.io/part-of: kafkalab
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end -}}

{{/* Labels of pods do not name the chart's version: an upgrade that changes nothing else restarts nothing. */}}
{{- define "kafkalab.podLabels" -}}
{{ include "kafkalab.selector" . }}
app.kubernetes.io/part-of: kafkalab
{{- end -}}

{{- define "kafkalab.image" -}}
{{- $i := (index . 0).Values.image -}}
image: {{ printf "%s/%s:%s" $i.prefix (index . 1) $i.tag | quote }}
imagePullPolicy: {{ $i.pullPolicy }}
{{- end -}}

{{- define "kafkalab.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "kafkalab.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* (list . "/-/ready") */}}
{{- define "kafkalab.probe" -}}
{{- $web := (index . 0).Values.web -}}
{{- if and $web.secret $web.auth -}}
tcpSocket:
  port: metrics
{{- else -}}
httpGet:
  path: {{ index . 1 }}
  port: metrics
  {{- if and $web.secret $web.tls }}
  scheme: HTTPS
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "kafkalab.probes" -}}
readinessProbe:
  {{- include "kafkalab.probe" (list . "/-/ready") | nindent 2 }}
  periodSeconds: 2
  timeoutSeconds: 2
livenessProbe:
  {{- include "kafkalab.probe" (list . "/-/healthy") | nindent 2 }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

{{/* Where a pod may run: (list . .Values.exporter). */}}
{{- define "kafkalab.scheduling" -}}
{{- with (index . 0).Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with (index . 1).nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (index . 1).tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (index . 1).affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The Secrets that a client of Kafka needs, as one volume. */}}
{{- define "kafkalab.kafkaSources" -}}
{{- with .Values.kafka }}
{{- if and .tls.enabled .tls.ca.secret }}
- secret:
    name: {{ .tls.ca.secret | quote }}
    items: [{key: {{ .tls.ca.key | quote }}, path: ca.crt}]
{{- end }}
{{- if and .tls.enabled .tls.client.secret }}
- secret:
    name: {{ .tls.client.secret | quote }}
    items: [{key: {{ .tls.client.cert | quote }}, path: tls.crt}, {key: {{ .tls.client.key | quote }}, path: tls.key}]
{{- end }}
{{- if .sasl.mechanism }}
- secret:
    name: {{ .sasl.password.secret | quote }}
    items: [{key: {{ .sasl.password.key | quote }}, path: password}]
{{- end }}
{{- end }}
{{- end -}}

{{- define "kafkalab.mounts" -}}
{{- if include "kafkalab.kafkaSources" . }}
- name: kafka
  mountPath: /etc/kafka-client
  readOnly: true
{{- end }}
{{- if .Values.web.secret }}
- name: web
  mountPath: /etc/kafkalab-web
  readOnly: true
{{- end }}
{{- end -}}

{{- define "kafkalab.volumes" -}}
{{- with include "kafkalab.kafkaSources" . }}
- name: kafka
  projected:
    sources:
      {{- . | trim | nindent 6 }}
{{- end }}
{{- with .Values.web.secret }}
- name: web
  secret:
    secretName: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* The exporter's flags for Kafka and for what it serves. */}}
{{- define "kafkalab.exporterArgs" -}}
- --web.listen-address=:9308
- --kafka.brokers={{ join "," .Values.kafka.bootstrap }}
{{- with .Values.kafka.tls }}
{{- if .enabled }}
- --tls.enabled
{{- if .ca.secret }}
- --tls.ca-file=/etc/kafka-client/ca.crt
{{- end }}
{{- if .client.secret }}
- --tls.cert-file=/etc/kafka-client/tls.crt
- --tls.key-file=/etc/kafka-client/tls.key
{{- end }}
{{- if .serverName }}
- --tls.server-name={{ .serverName }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.kafka.sasl }}
{{- if .mechanism }}
- --sasl.mechanism={{ .mechanism }}
- {{ printf "--sasl.username=%s" .username | quote }}
- --sasl.password-file=/etc/kafka-client/password
{{- end }}
{{- end }}
{{- if .Values.web.secret }}
- --web.config.file=/etc/kafkalab-web/web.yml
{{- end }}
{{- range .Values.exporter.args }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* The tuner's file. */}}
{{- define "kafkalab.tunerFile" -}}
{{- $k := .Values.kafka -}}
version: 1
mode: {{ .Values.tuner.mode }}
target:
  namespace: {{ $k.namespace | quote }}
  kind: {{ $k.kind }}
  name: {{ $k.name | quote }}
  {{- if ne $k.kind "Kafka" }}
  container: {{ $k.container | quote }}
  {{- end }}
  bootstrap: {{ toJson $k.bootstrap }}
  {{- with $k.jvmMetrics }}
  jvm_metrics: {{ toJson . }}
  {{- end }}
  {{- if $k.tls.enabled }}
  tls:
    enabled: true
    {{- if $k.tls.ca.secret }}
    ca_file: /etc/kafka-client/ca.crt
    {{- end }}
    {{- if $k.tls.client.secret }}
    cert_file: /etc/kafka-client/tls.crt
    key_file: /etc/kafka-client/tls.key
    {{- end }}
    {{- with $k.tls.serverName }}
    server_name: {{ . | quote }}
    {{- end }}
  {{- end }}
  {{- if $k.sasl.mechanism }}
  sasl:
    mechanism: {{ $k.sasl.mechanism }}
    username: {{ $k.sasl.username | quote }}
    password_file: /etc/kafka-client/password
  {{- end }}
{{ toYaml .Values.tuner.config }}
{{- end -}}

{{/* Not empty when the tuner may change its target. */}}
{{- define "kafkalab.acts" -}}
{{- if or (has .Values.tuner.mode (list "approve" "auto")) (and (eq .Values.tuner.mode "observe") .Values.tuner.config.revert) }}yes{{ end -}}
{{- end -}}

{{- define "kafkalab.tokenSecret" -}}
{{- .Values.tuner.apiToken | default (printf "%s-tuner-api" (include "kafkalab.fullname" .)) -}}
{{- end -}}

{{/* Ports of a list of host:port or of addresses. */}}
{{- define "kafkalab.ports" -}}
{{- $ports := list -}}
{{- range . -}}
{{- $host := regexReplaceAll "^https?://([^/?#]*).*$" . "${1}" -}}
{{- $default := ternary "443" "80" (hasPrefix "https://" .) -}}
{{- $port := regexFind ":[0-9]+$" $host | trimPrefix ":" | default $default -}}
{{- $ports = append $ports (int $port) -}}
{{- end -}}
{{- range $ports | uniq }}
- port: {{ . }}
{{- end -}}
{{- end -}}

{{/* What the schema cannot say, because it is between fields. */}}
{{- define "kafkalab.check" -}}
{{- $v := .Values -}}
{{- if $v.tuner.enabled -}}
{{- if gt (int $v.tuner.replicas) 1 -}}
{{- if not (include "kafkalab.acts" .) -}}
{{- fail (printf "tuner.replicas: want 1 in mode %s, in which every tuner would measure and write for itself; more than one needs mode approve or auto, or tuner.config.revert (got %v)" $v.tuner.mode $v.tuner.replicas) -}}
{{- end -}}
{{- if not $v.tuner.storage.shared -}}
{{- fail (printf "tuner.storage.shared: must be true with more than one replica: who takes over must find the ledger of the trial that was running (got false, with tuner.replicas %v)" $v.tuner.replicas) -}}
{{- end -}}
{{- end -}}
{{- if and $v.tuner.mayDeletePods (ne $v.kafka.kind "StatefulSet") -}}
{{- fail (printf "tuner.mayDeletePods: is for kafka.kind StatefulSet alone (got kind %s)" $v.kafka.kind) -}}
{{- end -}}
{{- $heap := false -}}
{{- range $v.tuner.config.knobs -}}{{- if eq (toString .readback) "jvm-heap" -}}{{- $heap = true -}}{{- end -}}{{- end -}}
{{- if and $heap (not $v.kafka.jvmMetrics) -}}
{{- fail "kafka.jvmMetrics: want an address per broker, since a knob of tuner.config.knobs has readback jvm-heap (got none); without a JMX agent take that knob out" -}}
{{- end -}}
{{- end -}}
{{- if and $v.networkPolicy.enabled (not $v.kafka.namespace) (not $v.networkPolicy.kafkaCIDRs) -}}
{{- fail "kafka.namespace: want the namespace of Kafka, or networkPolicy.kafkaCIDRs for brokers outside of the cluster: the network policy lets the exporter go nowhere else (got neither)" -}}
{{- end -}}
{{- if and $v.loadgen.enabled (or $v.kafka.tls.enabled $v.kafka.sasl.mechanism) -}}
{{- fail "loadgen.enabled: the load speaks plaintext without a name; give it a listener for that in a release of its own, without kafka.tls and kafka.sasl (got true)" -}}
{{- end -}}
{{- end -}}
