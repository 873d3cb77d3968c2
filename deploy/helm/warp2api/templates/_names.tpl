{{- define "warp2api.name" -}}
{{- if contains "warp2api" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-warp2api{{ end }}
{{- end }}

{{- define "warp2api.labels" -}}
app.kubernetes.io/name: warp2api
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "warp2api.secret" -}}
{{ .Values.secrets.existing | default (include "warp2api.name" .) }}
{{- end }}

{{- /* What would start and then not work is refused here. */ -}}
{{- define "warp2api.check" -}}
{{- $values := .Values.secrets.values }}
{{- $pools := int .Values.pool.replicas }}
{{- if not .Values.postgresql }}
{{- if gt $pools 1 }}{{ fail "several pools need PostgreSQL: set postgresql to true" }}{{ end }}
{{- if or (gt (int .Values.gateway.replicas) 1) .Values.gateway.autoscaling.enabled }}{{ fail "several gateways need PostgreSQL: set postgresql to true" }}{{ end }}
{{- end }}
{{- if not .Values.secrets.existing }}
{{- range list "ADMIN_KEY" "GATEWAY_KEY" }}
{{- if not (get $values .) }}{{ fail (printf "set secrets.values.%s, or name a Secret that has it in secrets.existing" .) }}{{ end }}
{{- end }}
{{- if and .Values.postgresql (not $values.DATABASE_URL) }}{{ fail "postgresql is true: set secrets.values.DATABASE_URL" }}{{ end }}
{{- if and (gt $pools 1) (not $values.MASTER_KEY) }}{{ fail "several pools need the same master key: set secrets.values.MASTER_KEY" }}{{ end }}
{{- end }}
{{- end }}

{{- /* What both services have of a pod. Arguments: root, service ("pool" or "gateway"). */ -}}
{{- define "warp2api.pod" -}}
{{- $root := .root }}{{ $service := .service }}{{ $own := get $root.Values $service }}
{{- $port := ternary 8019 8018 (eq $service "pool") }}
{{- $keepsFiles := and (not $root.Values.postgresql) $own.persistence.enabled }}
{{- $keepsKey := and (eq $service "pool") $own.persistence.enabled (eq (int $own.replicas) 1) }}
metadata:
  labels:
    {{- include "warp2api.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ $service }}
  annotations:
    checksum/config: {{ toJson (list $root.Values.config $root.Values.secrets.values) | sha256sum }}
    {{- with $own.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "warp2api.name" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  # The deadline of turns, what is still to be stored, and the sleep below.
  terminationGracePeriodSeconds: {{ add $root.Values.shutdownSeconds 75 }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 1000
    runAsGroup: 1000
    fsGroup: 1000
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: { type: RuntimeDefault }
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          app.kubernetes.io/instance: {{ $root.Release.Name }}
          app.kubernetes.io/component: {{ $service }}
  containers:
    - name: {{ $service }}
      image: "{{ $root.Values.image.repository }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}"
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [serve, {{ $service }}]
      ports:
        - { name: http, containerPort: {{ $port }}, protocol: TCP }
      env:
        - { name: SHUTDOWN_SECONDS, value: {{ $root.Values.shutdownSeconds | quote }} }
        {{- range $name := ternary (list "ADMIN_KEY" "GATEWAY_KEY" "POOL_API_KEY" "MASTER_KEY") (list "ADMIN_KEY" "GATEWAY_KEY" "API_KEYS") (eq $service "pool") }}
        - name: {{ $name }}
          valueFrom: { secretKeyRef: { name: {{ include "warp2api.secret" $root }}, key: {{ $name }}, optional: {{ has $name (list "API_KEYS" "POOL_API_KEY" "MASTER_KEY") }} } }
        {{- end }}
        {{- if $root.Values.postgresql }}
        {{- range $name := ternary (list "DATABASE_URL") (list "KEEP_URL" "GATEWAY_DATABASE_URL") (eq $service "pool") }}
        - name: {{ $name }}
          valueFrom: { secretKeyRef: { name: {{ include "warp2api.secret" $root }}, key: DATABASE_URL } }
        {{- end }}
        {{- end }}
        {{- if eq $service "pool" }}
        - { name: POOL_SERVICE_HOST, value: "0.0.0.0" }
        {{- else }}
        - { name: POOL_SERVICE_URL, value: "http://{{ include "warp2api.name" $root }}-pool:8019" }
        {{- end }}
        {{- if $root.Values.config }}
        - { name: CONFIG_FILE, value: /etc/warp2api/warp2api.yaml }
        {{- end }}
        {{- range $name, $value := $own.env }}
        - { name: {{ $name }}, value: {{ $value | quote }} }
        {{- end }}
      # A pod that is to go gets no more requests before it stops accepting them.
      lifecycle: { preStop: { sleep: { seconds: 5 } } }
      startupProbe: { httpGet: { path: /health, port: http }, periodSeconds: 2, failureThreshold: 60 }
      livenessProbe: { httpGet: { path: /health, port: http }, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 }
      readinessProbe: { httpGet: { path: /health, port: http }, periodSeconds: 5, timeoutSeconds: 3, failureThreshold: 2 }
      resources: {{ toYaml $own.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      volumeMounts:
        - { name: data, mountPath: /data }
        - { name: tmp, mountPath: /tmp }
        {{- if $root.Values.config }}
        - { name: config, mountPath: /etc/warp2api, readOnly: true }
        {{- end }}
  volumes:
    - name: data
      {{- if or $keepsFiles $keepsKey }}
      persistentVolumeClaim: { claimName: {{ include "warp2api.name" $root }}-{{ $service }} }
      {{- else }}
      emptyDir: {}
      {{- end }}
    - { name: tmp, emptyDir: {} }
    {{- if $root.Values.config }}
    - { name: config, configMap: { name: {{ include "warp2api.name" $root }} } }
    {{- end }}
  {{- range $name := list "nodeSelector" "tolerations" "affinity" }}
  {{- with get $own $name }}
  {{ $name }}: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end }}
