{{- define "clarion.name" -}}
{{- if contains "clarion" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-clarion" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* Call with (list $ "server"). */}}
{{- define "clarion.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: clarion
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "clarion.labels" -}}
{{- $root := index . 0 -}}
{{ include "clarion.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{- define "clarion.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "clarion.name" $root }}-{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "clarion.labels" . | nindent 2 }}
{{- end }}

{{/* The secret with the database's URL. Without one, nothing is installed. */}}
{{- define "clarion.secret" -}}
{{- required "existingSecret is empty: name a Secret with the key CLARION_DATABASE_URL, as docs/how-to/run-on-kubernetes.md shows" .Values.existingSecret -}}
{{- end }}

{{/* A time of the settings, in seconds: (list $ "server" "lame_duck" 2). The last is the product's default. */}}
{{- define "clarion.time" -}}
{{- $section := get (index . 0).Values.settings (index . 1) | default dict -}}
{{- if hasKey $section (index . 2) }}{{ get $section (index . 2) }}{{ else }}{{ index . 3 }}{{ end }}
{{- end }}

{{/* The seconds after which Kubernetes kills each process: what the settings allow it, and 5 more. */}}
{{- define "clarion.grace.server" -}}
{{- ceil (addf (include "clarion.time" (list . "server" "lame_duck" 2)) (include "clarion.time" (list . "server" "shutdown_grace" 5)) 5) }}
{{- end }}
{{- define "clarion.grace.dispatcher" -}}
{{- ceil (addf (include "clarion.time" (list . "dispatch" "shutdown_grace" 25)) 5) }}
{{- end }}
{{- define "clarion.grace.gateway" -}}
{{- ceil (addf .Values.gateway.preStopSeconds (include "clarion.time" (list . "gateway" "drain_grace" 0.5)) (include "clarion.time" (list . "gateway" "drain_timeout" 20)) 5) }}
{{- end }}
{{- define "clarion.grace.portal" -}}
{{- ceil (addf .Values.gateway.preStopSeconds 2 5) }}
{{- end }}

{{/* What the pods of all processes have in common: (list $ "server"). */}}
{{- define "clarion.podMetadata" -}}
{{- $root := index . 0 -}}
labels:
  {{- include "clarion.labels" . | nindent 2 }}
annotations:
  checksum/settings: {{ $root.Values.settings | toJson | sha256sum }}
  {{- with $root.Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "clarion.podSpec" -}}
{{- $root := index . 0 -}}
automountServiceAccountToken: false
enableServiceLinks: false # their variables would begin with CLARION_, like settings
{{- with $root.Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "clarion.selector" . | nindent 8 }}
{{- with $root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "clarion.container" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
image: {{ printf "%s:%s" $root.Values.image.repository ($root.Values.image.tag | default $root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "clarion.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: settings, mountPath: /etc/clarion/clarion.toml, subPath: clarion.toml, readOnly: true}
{{- end }}

{{- define "clarion.volumes" -}}
- {name: tmp, emptyDir: {}}
- name: settings
  configMap: {name: {{ include "clarion.name" . }}-settings}
{{- end }}

{{/* Keys of providers, for servers and dispatchers. */}}
{{- define "clarion.fileMounts" -}}
{{- if .Values.filesSecret }}
- {name: files, mountPath: /etc/clarion/files, readOnly: true}
{{- end }}
{{- end }}
{{- define "clarion.fileVolumes" -}}
{{- if .Values.filesSecret }}
- name: files
  secret: {secretName: {{ .Values.filesSecret }}}
{{- end }}
{{- end }}

{{/* "yes" if servers accept TLS only, else empty. */}}
{{- define "clarion.serverTls" -}}
{{- $tls := .Values.serverTls -}}
{{- if ne (empty $tls.serverSecret) (empty $tls.clientSecret) }}
{{- fail "serverTls: set both serverSecret and clientSecret, or neither" }}
{{- end }}
{{- if $tls.serverSecret }}yes{{ end }}
{{- end }}

{{/* For gateways and portals, which call servers: (list $ "GATEWAY"). */}}
{{- define "clarion.serverTlsEnv" -}}
{{- if include "clarion.serverTls" (index . 0) }}
- {name: CLARION_{{ index . 1 }}_SERVER_TLS_CA, value: /etc/clarion/server-tls/ca.crt}
- {name: CLARION_{{ index . 1 }}_SERVER_TLS_CERTIFICATE, value: /etc/clarion/server-tls/tls.crt}
- {name: CLARION_{{ index . 1 }}_SERVER_TLS_KEY, value: /etc/clarion/server-tls/tls.key}
{{- end }}
{{- end }}

{{/* For servers, gateways and portals; the volume: (list $ "the secret"). */}}
{{- define "clarion.serverTlsMounts" -}}
{{- if include "clarion.serverTls" . }}
- {name: server-tls, mountPath: /etc/clarion/server-tls, readOnly: true}
{{- end }}
{{- end }}
{{- define "clarion.serverTlsVolumes" -}}
{{- if include "clarion.serverTls" (index . 0) }}
- name: server-tls
  secret: {secretName: {{ index . 1 }}}
{{- end }}
{{- end }}

{{/* The variables of OpenTelemetry, for the processes that record spans. */}}
{{- define "clarion.otelEnv" -}}
{{- range $name, $value := .Values.otel.variables }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}
{{- define "clarion.otelEnvFrom" -}}
{{- with .Values.otel.existingSecret }}
- secretRef: {name: {{ . }}}
{{- end }}
{{- end }}

{{- define "clarion.pdb" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.podDisruptionBudget }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "clarion.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "clarion.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{/* By CPU: (list $ "server" $values). */}}
{{- define "clarion.cpuAutoscaler" -}}
{{- $root := index . 0 -}}
{{- $values := index . 2 -}}
{{- if $values.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "clarion.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ include "clarion.name" $root }}-{{ index . 1 }}}
  minReplicas: {{ $values.replicas }}
  maxReplicas: {{ $values.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ $values.autoscaling.targetCPU }}}}
{{- end }}
{{- end }}

{{/* The most servers that can run, which bounds the calls that the gateway admits. */}}
{{- define "clarion.mostServers" -}}
{{- if .Values.server.autoscaling.enabled }}{{ .Values.server.autoscaling.maxReplicas }}{{ else }}{{ .Values.server.replicas }}{{ end }}
{{- end }}
