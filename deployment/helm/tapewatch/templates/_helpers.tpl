{{- define "tapewatch.labels" -}}
app.kubernetes.io/name: tapewatch
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* What selects the pods of a part: (list ROOT PART) */}}
{{- define "tapewatch.selector" -}}
app.kubernetes.io/name: tapewatch
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* A service's own name and those of its pods' neighbours, and what browsers use. */}}
{{- define "tapewatch.hosts" -}}
{{- $names := list -}}
{{- range $part := list "webserver" "mlflow" "scoring" "dashboard" }}
{{- $names = append $names (printf "%s-%s" $.Release.Name $part) }}
{{- with index $.Values.ingress.hosts $part }}{{- $names = append $names . }}{{- end }}
{{- end }}
{{- join "," $names }}
{{- end }}

{{/* The pod of a part: dict root, part, image, args, command, port, path, resources, probe, scraped */}}
{{- define "tapewatch.pod" -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "tapewatch.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .part }}
  annotations:
    checksum/settings: {{ include (print $root.Template.BasePath "/settings.yaml") $root | sha256sum }}
    {{- with .scraped }}
    prometheus.io/scrape: "true"
    prometheus.io/port: {{ . | quote }}
    {{- end }}
spec:
  serviceAccountName: {{ $root.Release.Name }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $root.Values.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  terminationGracePeriodSeconds: 60
  containers:
    - name: {{ .part }}
      image: "{{ $root.Values.images }}/tapewatch-{{ .image }}:{{ $root.Values.tag | default $root.Chart.AppVersion }}"
      {{- with .args }}
      args:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      envFrom:
        - configMapRef:
            name: {{ $root.Release.Name }}-settings
        - secretRef:
            name: {{ required "existingSecret: name a secret with TAPEWATCH_TOKEN, POLYGON_API_KEY and the databases' addresses" $root.Values.existingSecret }}
      {{- with .port }}
      ports:
        - name: main
          containerPort: {{ . }}
      {{- end }}
      {{- if .path }}
      startupProbe:
        httpGet: &page
          path: {{ .path }}
          port: main
        periodSeconds: 5
        failureThreshold: 60
      readinessProbe:
        httpGet: *page
        periodSeconds: 10
        timeoutSeconds: 5
      livenessProbe:
        httpGet: *page
        periodSeconds: 20
        timeoutSeconds: 10
        failureThreshold: 6
      {{- else if .probe }}
      readinessProbe:
        {{- toYaml .probe | nindent 8 }}
        periodSeconds: 30
        timeoutSeconds: 30
      {{- end }}
      resources:
        {{- toYaml .resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: data
          mountPath: /data
        - name: tmp
          mountPath: /tmp
  volumes:
    - name: data
      persistentVolumeClaim:
        claimName: {{ $root.Values.volume.existingClaim | default (printf "%s-data" $root.Release.Name) }}
    - name: tmp
      emptyDir: {}
{{- end }}
