{{- define "smartfit.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "smartfit.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "smartfit.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/*
The template of a pod with one container: of a Deployment, a DaemonSet or a Job. Arguments: root, pod, a dictionary of
  component, part, image (its name), command, args, ports [{name, containerPort}], environment [{name, value}], from [ConfigMaps],
  fromSecrets [Secrets], probes {startup, readiness, liveness}, preStop, grace, resources, volumes, mounts, account, token, annotations,
  metrics, restart, nodeSelector, tolerations, affinity, spread, priorityClassName. Leaving one out means it has none.
*/}}
{{- define "smartfit.podTemplate" -}}
{{- $root := .root -}}{{- $pod := .pod -}}
metadata:
  labels:
    {{- include "smartfit.labels" (dict "root" $root "component" $pod.component "part" $pod.part) | nindent 4 }}
  {{- $annotations := merge (dict) ($pod.annotations | default dict) (fromYaml (include "smartfit.podAnnotations" (dict "root" $root "component" $pod.component "metrics" $pod.metrics))) }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with $pod.account }}
  serviceAccountName: {{ . }}
  {{- end }}
  automountServiceAccountToken: {{ $pod.token | default false }}
  enableServiceLinks: false
  {{- include "smartfit.pullSecrets" $root | nindent 2 }}
  {{- with $pod.restart }}
  restartPolicy: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ $pod.grace | default 30 }}
  {{- with $pod.priorityClassName | default $root.Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- include "smartfit.podSecurity" $root | nindent 4 }}
  {{- with $pod.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $pod.spread }}
  topologySpreadConstraints:
    {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "smartfit.selector" (dict "root" $root "component" $pod.component) | nindent 10 }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ $pod.component }}
      image: {{ include "smartfit.image" (dict "root" $root "name" $pod.image) }}
      imagePullPolicy: {{ $root.Values.imagePullPolicy }}
      {{- with $pod.command }}
      command: {{ toJson . }}
      {{- end }}
      {{- with $pod.args }}
      args: {{ toJson . }}
      {{- end }}
      {{- with $pod.environment }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if or $pod.from $pod.fromSecrets }}
      envFrom:
        {{- range $pod.from }}
        - configMapRef: {name: {{ . }}}
        {{- end }}
        {{- range $pod.fromSecrets }}
        - secretRef: {name: {{ . }}}
        {{- end }}
      {{- end }}
      {{- with $pod.ports }}
      ports:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- range $name, $probe := $pod.probes }}
      {{ $name }}Probe:
        {{- toYaml $probe | nindent 8 }}
      {{- end }}
      {{- with $pod.preStop }}
      lifecycle:
        preStop: {exec: {command: {{ toJson . }}}}
      {{- end }}
      resources:
        {{- toYaml $pod.resources | nindent 8 }}
      securityContext:
        {{- include "smartfit.containerSecurity" $root | nindent 8 }}
      {{- with $pod.mounts }}
      volumeMounts:
        {{- toYaml . | nindent 8 }}
      {{- end }}
  {{- with $pod.volumes }}
  volumes:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Arguments: root, pod (as above, and replicas, nil where an autoscaler counts; single: never two at once). */}}
{{- define "smartfit.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "smartfit.meta" (dict "root" .root "component" .pod.component "part" .pod.part "name" .pod.name) | nindent 2 }}
spec:
  {{- if not .pod.scaled }}
  replicas: {{ .pod.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  {{- if .pod.single }}
  # Never two at once.
  strategy: {type: Recreate}
  {{- else }}
  strategy:
    rollingUpdate: {maxUnavailable: 0, maxSurge: 25%}
  {{- end }}
  selector:
    matchLabels:
      {{- include "smartfit.selector" (dict "root" .root "component" .pod.component) | nindent 6 }}
  template:
    {{- include "smartfit.podTemplate" . | nindent 4 }}
{{- end }}

{{/* What a gateway does before it ends, in bash, as its image has nothing else that speaks HTTP. Argument: seconds. */}}
{{- define "smartfit.drain" -}}
# The gateway is leaving: its connections are told so, one after the other, and it takes new ones until nobody comes any more.
exec 3<>/dev/tcp/127.0.0.1/9901
printf 'POST /drain_listeners?graceful&skip_exit HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n' >&3
read -r -t 5 answer <&3
exec sleep {{ . }}
{{- end }}
