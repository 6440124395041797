{{/*
Who calls whom, as JSON {component: {port, calls, open, metrics}}: the services of files/services.yaml, those of the learning
side, and the jobs of an upgrade. Names that are no component stand for `network.outside`.
*/}}
{{- define "smartfit.talks" -}}
{{- $found := dict -}}
{{- range $name, $service := fromJson (include "smartfit.services" .) }}
  {{- $metrics := int (dig "metrics" "port" $service.port $service) -}}
  {{- if eq $service.kind "pooler" }}{{ $metrics = 0 }}{{ end -}}
  {{- $_ := set $found $name (dict "port" (int $service.port) "calls" $service.calls "open" ($service.open | default list) "metrics" $metrics) -}}
{{- end }}
{{- $learning := list "database" "store" -}}
{{- if .Values.tracing.host }}{{ $learning = append $learning "collector" }}{{ end -}}
{{- $platform := list "auth" "mlops" "search" "branch" -}}
{{- $llm := list -}}
{{- if .Values.learning.languageModel }}{{ $llm = list "languageModel" }}{{ end -}}
{{- $_ := set $found "code" (dict "port" 4000 "calls" (concat $learning $platform)) -}}
{{- $_ := set $found "dagster" (dict "port" 3000 "calls" (concat $learning (list "code" "cluster"))) -}}
{{- $_ := set $found "daemon" (dict "port" 0 "calls" (concat $learning (list "code" "cluster"))) -}}
{{- $_ := set $found "run" (dict "port" 0 "calls" (concat $learning $platform $llm)) -}}
{{- $_ := set $found "migration" (dict "port" 0 "calls" (ternary (list "database" "vault") (list "database") .Values.secrets.vaultAgent.enabled)) -}}
{{- if .Values.edge.enabled }}{{ $_ := set $found "edge" (dict "port" 8445 "calls" (list "centre" "gates") "open" (list 8445)) }}{{ end -}}
{{- toJson $found -}}
{{- end }}
