{{/*
The services of this installation as JSON {name: service}: the facts of files/services.yaml, and over them the values, first
those of its kind (defaults.<kind>), then its own (services.<name>). What is turned off is not in it.
*/}}
{{- define "smartfit.services" -}}
{{- $root := . -}}
{{- $facts := fromYaml (.Files.Get "files/services.yaml") -}}
{{- $options := fromJson (include "smartfit.options" .) -}}
{{- $known := fromYaml (.Files.Get "files/secrets.yaml") -}}
{{- $found := dict -}}
{{- range $name, $service := $facts.services }}
  {{- $kind := deepCopy (index $facts.kinds $service.kind) -}}
  {{- $values := mergeOverwrite (dict "enabled" true) (deepCopy (index $root.Values.defaults $service.kind | default dict)) (deepCopy (index $root.Values.services $name | default dict)) -}}
  {{- $on := $values.enabled -}}
  {{- if eq $name "pooler" }}{{ $on = $root.Values.pooler.enabled }}{{ end -}}
  {{- if eq $service.kind "worker" }}{{ $on = (dig $service.domain "enabled" true $root.Values.services) }}{{ end -}}
  {{- if $on }}
    {{- $secrets := list -}}
    {{- range concat ($kind.secrets | default list) ($service.secrets | default list) }}
      {{- $option := dig "option" "" (index $known .) -}}
      {{- if or (not $option) (index $options $option) }}{{ $secrets = append $secrets . }}{{ end -}}
    {{- end }}
    {{- $calls := concat ($kind.calls | default list) ($service.calls | default list) -}}
    {{- if and $root.Values.pooler.enabled (eq $service.kind "api") }}{{ $calls = append (without $calls "database") "pooler" }}{{ end -}}
    {{- if not $root.Values.cache.enabled }}{{ $calls = without $calls "cache" }}{{ end -}}
    {{- if not $root.Values.tracing.host }}{{ $calls = without $calls "collector" }}{{ end -}}
    {{- if ne $root.Values.search.engine "elasticsearch" }}{{ $calls = without $calls "index" }}{{ end -}}
    {{- if and $root.Values.secrets.vaultAgent.enabled $secrets }}{{ $calls = append $calls "vault" }}{{ end -}}
    {{- $environment := merge (dict) ($service.environment | default dict) ($kind.environment | default dict) -}}
    {{- /* Whoever is one of the services that know each other by certificate, or calls one. */}}
    {{- $knownBy := false -}}
    {{- range append (fromJsonArray (include "smartfit.domains" $root)) "web" }}{{ if or (eq . $name) (has . $calls) }}{{ $knownBy = $root.Values.tls.services.enabled }}{{ end }}{{ end -}}
    {{- if and $knownBy (ne $service.kind "gateway") }}{{ $environment = merge $environment (fromYaml (include "smartfit.internalTls" $root)) }}{{ end -}}
    {{- $_ := set $found $name (mergeOverwrite $kind (deepCopy $service) $values (dict "internalTls" $knownBy "name" $name "secrets" $secrets "calls" $calls "environment" $environment)) -}}
  {{- end }}
{{- end }}
{{- toJson $found -}}
{{- end }}

{{/* Environment that no one chooses, of a service: its domain, and the files of its secrets. JSON [{name, value}]. */}}
{{- define "smartfit.environment" -}}
{{- $root := .root -}}{{- $service := .service -}}
{{- $known := fromYaml ($root.Files.Get "files/secrets.yaml") -}}
{{- $set := deepCopy ($service.environment | default dict) -}}
{{- if $service.domain }}{{ $_ := set $set "SMARTFIT_DOMAINS" $service.domain }}{{ end -}}
{{- range $subject := $service.secrets }}
  {{- $secret := index $known $subject -}}
  {{- range $secret.keys }}
    {{- if and (eq $service.kind "migration") (ne $subject "bootstrap") (not (hasSuffix "_DATABASE_URL" .)) }}{{ continue }}{{ end -}}
    {{- $file := include "smartfit.key" (dict "root" $root "service" $service "key" .) -}}
    {{- $_ := set $set (print . "_FILE") (printf "/etc/smartfit/secrets/%s/%s" $subject $file) -}}
  {{- end }}
  {{- range $file, $setting := $secret.files }}{{ if $setting }}{{ $_ := set $set $setting (printf "/etc/smartfit/secrets/%s/%s" $subject $file) }}{{ end }}{{ end -}}
  {{- with $secret.folder }}{{ $_ := set $set . (printf "/etc/smartfit/%s" $subject) }}{{ end -}}
{{- end }}
{{- range $name, $value := $service.settings }}{{ $_ := set $set $name $value }}{{ end -}}
{{- $list := list -}}
{{- range $name, $value := $set }}{{ $list = append $list (dict "name" $name "value" (toString $value)) }}{{ end -}}
{{- toJson $list -}}
{{- end }}

{{/* The secrets of a service as one projected volume, and a volume for each that is a folder. Arguments: root, service. */}}
{{- define "smartfit.secretVolumes" -}}
{{- $root := .root -}}{{- $service := .service -}}
{{- $known := fromYaml ($root.Files.Get "files/secrets.yaml") -}}
{{- $sources := list -}}
{{- range $subject := .service.secrets }}
  {{- $secret := index $known $subject -}}
  {{- $name := include "smartfit.secretName" (dict "root" $root "subject" $subject) -}}
  {{- $items := list -}}
  {{- range $secret.keys }}
    {{- if and (eq $service.kind "migration") (ne $subject "bootstrap") (not (hasSuffix "_DATABASE_URL" .)) }}{{ continue }}{{ end -}}
    {{- $key := include "smartfit.key" (dict "root" $root "service" $service "key" .) -}}
    {{- $from := $key -}}
    {{- if and (eq $subject "broker") $root.Values.rabbitmq.cluster.enabled (not $root.Values.secrets.names.broker) }}{{ $from = "connection_string" }}{{ end -}}
    {{- $items = append $items (dict "key" $from "path" (printf "%s/%s" $subject $key)) -}}
  {{- end }}
  {{- range $file, $setting := $secret.files }}{{ $items = append $items (dict "key" $file "path" (printf "%s/%s" $subject $file)) }}{{ end -}}
  {{- if $items }}{{ $sources = append $sources (dict "secret" (dict "name" $name "items" $items)) }}{{ end -}}
  {{- if $secret.folder }}
- name: {{ $subject }}
  secret: {secretName: {{ $name }}, defaultMode: 0440}
  {{- end }}
{{- end }}
{{- if and $sources (not $root.Values.secrets.vaultAgent.enabled) }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- toYaml $sources | nindent 6 }}
{{- end }}
{{- end }}

{{/* A key of a Secret as this service takes it: with a pooler, APIs have a URL of their own. Arguments: root, service, key. */}}
{{- define "smartfit.key" -}}
{{- if and .root.Values.pooler.enabled (eq .service.kind "api") (hasSuffix "_DATABASE_URL" .key) -}}
{{ replace "_DATABASE_URL" "_POOLED_DATABASE_URL" .key }}
{{- else -}}{{ .key }}{{- end -}}
{{- end }}

{{/* Vault's agent writes the files of the secrets into the pod. Arguments: root, service. */}}
{{- define "smartfit.vaultAnnotations" -}}
{{- $root := .root -}}{{- $service := .service -}}{{- $agent := .root.Values.secrets.vaultAgent -}}
{{- $known := fromYaml ($root.Files.Get "files/secrets.yaml") -}}
{{- if and $agent.enabled .service.secrets }}
vault.hashicorp.com/agent-inject: "true"
{{- if eq .service.kind "migration" }}
# A job ends; an agent beside it would not.
vault.hashicorp.com/agent-pre-populate-only: "true"
{{- end }}
vault.hashicorp.com/role: {{ $agent.role | quote }}
vault.hashicorp.com/agent-run-as-user: "10001"
vault.hashicorp.com/agent-run-as-group: "10001"
vault.hashicorp.com/secret-volume-path: /etc/smartfit/secrets
{{- range $subject := .service.secrets }}
{{- $secret := index $known $subject }}
{{- range concat ($secret.keys | default list) (keys ($secret.files | default dict) | sortAlpha) }}
{{- if and (eq $service.kind "migration") (ne $subject "bootstrap") (not (hasSuffix "_DATABASE_URL" .)) }}{{ continue }}{{ end }}
{{- $key := include "smartfit.key" (dict "root" $root "service" $service "key" .) }}
{{- $id := printf "%s-%s" $subject ($key | lower | replace "_" "-" | replace "." "-") }}
vault.hashicorp.com/agent-inject-secret-{{ $id }}: {{ printf "%s/%s" $agent.path $subject | quote }}
vault.hashicorp.com/agent-inject-file-{{ $id }}: {{ printf "%s/%s" $subject $key | quote }}
vault.hashicorp.com/agent-inject-template-{{ $id }}: {{ printf "{{ with secret %q }}{{ index .Data.data %q }}{{ end }}" (printf "%s/%s" $agent.path $subject) $key | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
