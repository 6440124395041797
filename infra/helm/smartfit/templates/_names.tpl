{{/* Labels of an object. Arguments: root, component, and part ("platform", "learning"). */}}
{{- define "smartfit.labels" -}}
{{ include "smartfit.selector" . }}
app.kubernetes.io/name: smartfit
app.kubernetes.io/part-of: {{ .part | default "platform" }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "smartfit.selector" -}}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "smartfit.meta" -}}
name: {{ .root.Release.Name }}-{{ .name | default .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "smartfit.labels" . | nindent 2 }}
{{- end }}

{{/* Arguments: root, name of the image. A digest, where given, is what counts. */}}
{{- define "smartfit.image" -}}
{{- $image := index .root.Values.images .name -}}
{{- if $image.digest -}}{{ $image.repository }}@{{ $image.digest }}{{- else -}}{{ $image.repository }}:{{ $image.tag }}{{- end -}}
{{- end }}

{{/* Name of the Secret of a subject. Arguments: root, subject. */}}
{{- define "smartfit.secretName" -}}
{{- $named := index .root.Values.secrets.names .subject -}}
{{- if $named -}}{{ $named }}
{{- else if and (eq .subject "broker") .root.Values.rabbitmq.cluster.enabled -}}{{ .root.Release.Name }}-rabbitmq-default-user
{{- else if and (eq .subject "index-ca") .root.Values.search.cluster.enabled -}}{{ .root.Release.Name }}-search-es-http-certs-public
{{- else -}}{{ .root.Release.Name }}-{{ .subject }}
{{- end -}}
{{- end }}

{{/* The domains, which have a database sf_<domain> and a role of that name each. */}}
{{- define "smartfit.domains" -}}
["auth", "access", "helper", "search", "branch", "monitoring", "notification", "mlops"]
{{- end }}

{{/* Whether the subjects that not every installation has are there: JSON {subject: bool}. */}}
{{- define "smartfit.options" -}}
{{- $v := .Values -}}
{{- $elastic := eq $v.search.engine "elasticsearch" -}}
{{- dict "store" $v.store.credentials "cache" $v.cache.enabled "push" (has "push" $v.notification.channels) "webpush" (has "webpush" $v.notification.channels) "mail" (has "email" $v.notification.channels) "equipment" $v.equipment.ownAuthority "index" (and $elastic $v.search.apiKey) "index-ca" (and $elastic (or $v.search.cluster.enabled $v.search.ownAuthority)) "pooler" $v.pooler.enabled | toJson -}}
{{- end }}

{{/*
Annotations by which a mesh takes the pod in, and Prometheus finds it. Arguments: root, component, metrics {port, path} or nil.
A job that a mesh's proxy stands beside would never end.
*/}}
{{- define "smartfit.podAnnotations" -}}
{{- if ne .component "migration" }}
{{- with .root.Values.mesh.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- with .metrics }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .port | quote }}
prometheus.io/path: {{ .path | default "/metrics" }}
{{- with .scheme }}
prometheus.io/scheme: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Name of the Secret with a server's certificate. Arguments: root, of ("gateway", "heartbeat"). */}}
{{- define "smartfit.tlsName" -}}
{{- (index .root.Values.tls .of).secretName | default (printf "%s-%s-tls" .root.Release.Name .of) -}}
{{- end }}

{{/* Base URL of a domain's API. Arguments: root, name. */}}
{{- define "smartfit.api" -}}
{{ ternary "https" "http" .root.Values.tls.services.enabled }}://{{ include "smartfit.host" . }}:8000
{{- end }}

{{/* Settings of a process that knows the services by certificate, and is known to them. */}}
{{- define "smartfit.internalTls" -}}
SMARTFIT_INTERNAL_CA_FILE: /etc/smartfit/internal/ca.crt
SMARTFIT_INTERNAL_CERT_FILE: /etc/smartfit/internal/tls.crt
SMARTFIT_INTERNAL_KEY_FILE: /etc/smartfit/internal/tls.key
{{- end }}

{{/* Where a service is found by others in the release. Arguments: root, name. */}}
{{- define "smartfit.host" -}}
{{ .root.Release.Name }}-{{ .name }}.{{ .root.Release.Namespace }}.svc.cluster.local
{{- end }}

{{/* access answers galleries with the vectors of the face model that serves beside it, on nodes that are labelled for it. */}}
{{- define "smartfit.besideFaceModel" -}}
{{- $term := dict "labelSelector" (dict "matchLabels" (fromYaml (include "smartfit.selector" (dict "root" . "component" "model-face")))) "topologyKey" "kubernetes.io/hostname" -}}
{{- if eq .Values.colocation "required" -}}
{{ dict "podAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (list $term)) | toJson }}
{{- else if eq .Values.colocation "preferred" -}}
{{ dict "podAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 100 "podAffinityTerm" $term))) | toJson }}
{{- else -}}{}{{- end -}}
{{- end }}

{{/* Settings of every process of the platform. */}}
{{- define "smartfit.commonSettings" -}}
HOME: /tmp
PYTHONUNBUFFERED: "1"
SMARTFIT_ENVIRONMENT: production
SMARTFIT_LOG_LEVEL: {{ .Values.logLevel }}
# Pods' own addresses: the gateway's word on who asks is believed, and web's.
SMARTFIT_TRUSTED_PROXIES: {{ join "," .Values.network.pods | quote }}
{{- include "smartfit.tracingSettings" . }}
{{- range $name, $value := .Values.settings }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "smartfit.tracingSettings" -}}
{{- if .Values.tracing.host }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ printf "http://%s:4318" .Values.tracing.host | quote }}
{{- end }}
{{- end }}

{{/* Settings of the object store, of every process but web. */}}
{{- define "smartfit.storeSettings" -}}
{{- with .Values.store.endpoint }}
AWS_ENDPOINT_URL: {{ . | quote }}
{{- end }}
{{- with .Values.store.region }}
AWS_DEFAULT_REGION: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Volumes of the learning side's servers and runs, and where they are mounted. */}}
{{- define "smartfit.learning.volumes" -}}
- name: instance
  configMap: {name: {{ .Release.Name }}-learning-instance}
- name: keys
  secret: {secretName: {{ .Values.learning.keysSecretName }}, defaultMode: 0440}
- name: work
  {{- if .Values.learning.workClaim }}
  persistentVolumeClaim: {claimName: {{ .Values.learning.workClaim }}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .Values.learning.workSize }}}
  {{- end }}
- name: scratch
  emptyDir: {sizeLimit: {{ .Values.learning.workSize }}}
{{- if .Values.store.credentials }}
- name: store
  secret: {secretName: {{ include "smartfit.secretName" (dict "root" . "subject" "store") }}, defaultMode: 0440}
{{- end }}
{{- if .Values.tls.services.enabled }}
- name: internal
  secret: {secretName: {{ .Release.Name }}-learning-internal, defaultMode: 0440}
{{- end }}
{{- end }}

{{- define "smartfit.learning.mounts" -}}
- {name: keys, mountPath: /etc/smartfit/keys, readOnly: true}
- {name: work, mountPath: /var/lib/smartfit/work}
- {name: scratch, mountPath: /var/lib/smartfit/scratch}
- {name: scratch, mountPath: /tmp, subPath: tmp}
{{- if .Values.store.credentials }}
- {name: store, mountPath: /etc/smartfit/store, readOnly: true}
{{- end }}
{{- if .Values.tls.services.enabled }}
- {name: internal, mountPath: /etc/smartfit/internal, readOnly: true}
{{- end }}
{{- end }}
