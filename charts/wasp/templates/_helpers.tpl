{{/* The same objects come from cluster/manifests.py; a test compares. No lookup, no random, no clock. */}}

{{- define "wasp.run" -}}
{{- $run := default .Release.Name .Values.run -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$" $run) -}}
{{- fail (printf "run: expected a DNS label of at most 40 characters (a-z, 0-9 and - within), found %q: set run, or install under another name" $run) -}}
{{- end -}}
{{- $run -}}
{{- end -}}

{{- define "wasp.sync" -}}
{{- default (printf "a%s" (include "wasp.run" . | sha256sum | trunc 7)) .Values.sync -}}
{{- end -}}

{{- define "wasp.name" -}}
wasp-{{ include "wasp.run" . }}
{{- end -}}

{{- define "wasp.image" -}}
{{- required "image: expected the image that was built from Dockerfile.test, found none: set image" .Values.image -}}
{{- end -}}

{{- define "wasp.test" -}}
{{- required "test.name: expected the load file inside the image as FILE[:NAME], found none: set test.name" .Values.test.name -}}
{{- end -}}

{{/* A text of a scalar: whole numbers without exponent. */}}
{{- define "wasp.text" -}}
{{- if and (kindIs "float64" .) (eq (float64 (int64 .)) .) -}}{{ int64 . }}{{- else -}}{{ toString . }}{{- end -}}
{{- end -}}

{{/* Whole seconds of a duration ("1h30m", or a number of seconds), rounded up. The date is only a ruler. */}}
{{- define "wasp.seconds" -}}
{{- $text := include "wasp.text" . -}}
{{- if regexMatch "^[0-9.]+$" $text }}{{ $text = printf "%ss" $text }}{{ end -}}
{{- $zero := toDate "2006-01-02" "2000-01-01" -}}
{{- $end := mustDateModify "999999999ns" (mustDateModify $text $zero) -}}
{{- sub (unixEpoch $end) (unixEpoch $zero) -}}
{{- end -}}

{{- define "wasp.deadline" -}}
{{- $v := .Values -}}
{{- add (include "wasp.seconds" $v.deployTimeout) (include "wasp.seconds" $v.test.timeout) (include "wasp.seconds" $v.drain) 60 -}}
{{- end -}}

{{/* Secret variables with their plain values, as JSON. */}}
{{- define "wasp.secrets" -}}
{{- $found := dict -}}
{{- $loki := .Values.env.loki -}}
{{- if and $loki.existingSecret (or $loki.token $loki.basicAuth) -}}
{{- fail "env.loki: expected a token (or basicAuth) or existingSecret, found both: leave one out" -}}
{{- end -}}
{{- if $loki.token }}{{ $_ := set $found "LOKI_TOKEN" (include "wasp.text" $loki.token) }}{{ end -}}
{{- if $loki.basicAuth }}{{ $_ := set $found "LOKI_BASIC_AUTH" (include "wasp.text" $loki.basicAuth) }}{{ end -}}
{{- range $name, $value := .Values.secretEnv }}{{ $_ := set $found $name (include "wasp.text" $value) }}{{ end -}}
{{- $found | toJson -}}
{{- end -}}

{{- define "wasp.ownLabels" -}}
app.kubernetes.io/managed-by: wasp
app.kubernetes.io/name: wasp
wasp.dev/run: {{ include "wasp.run" . | quote }}
{{- end -}}

{{- define "wasp.labels" -}}
{{ include "wasp.ownLabels" . }}
sync: {{ include "wasp.sync" . | quote }}
{{- end -}}

{{- define "wasp.texts" -}}
{{- range $name, $value := . }}
{{ $name | quote }}: {{ include "wasp.text" $value | quote }}
{{- end }}
{{- end -}}

{{- define "wasp.podAnnotations" -}}
{{- $defaults := dict
  "cluster-autoscaler.kubernetes.io/safe-to-evict" "false"
  "karpenter.sh/do-not-disrupt" "true"
  "linkerd.io/inject" "disabled"
  "sidecar.istio.io/inject" "false" -}}
{{- include "wasp.texts" (merge (deepCopy .Values.annotations) $defaults) -}}
{{- end -}}

{{- define "wasp.ownEnv" -}}
- name: HOME
  value: /tmp
- name: PYTHONUNBUFFERED
  value: "1"
- name: WASP_RUN
  value: {{ include "wasp.run" . | quote }}
- name: WASP_SYNC
  value: {{ include "wasp.sync" . | quote }}
- name: WASP_JOBS
  value: {{ include "wasp.text" .Values.jobs | quote }}
- name: WASP_LOG_LEVEL
  value: {{ .Values.env.wasp.log_level | quote }}
- name: WASP_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: WASP_POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: WASP_POD_UID
  valueFrom:
    fieldRef:
      fieldPath: metadata.uid
{{- end -}}

{{/* Where Loki is, for nodes and for the controller, which asks for alerts. */}}
{{- define "wasp.lokiEnv" -}}
{{- with .Values.env.loki.url }}
- name: LOKI_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.env.loki.tenantId }}
- name: LOKI_TENANT_ID
  value: {{ include "wasp.text" . | quote }}
{{- end }}
{{- end -}}

{{/* Of the secrets only what alerts are asked for with. */}}
{{- define "wasp.alertEnv" -}}
{{- range $name, $value := include "wasp.secrets" . | fromJson }}
{{- if regexMatch "^(GRAFANA|LOKI|PROMETHEUS)_(BASIC_AUTH|TOKEN)$" $name }}
- name: {{ $name | quote }}
  valueFrom:
    secretKeyRef:
      name: {{ include "wasp.name" $ | quote }}
      key: {{ $name | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "wasp.extraEnv" -}}
{{- if kindIs "map" .Values.extraEnv }}
{{- range $name, $value := .Values.extraEnv }}
- name: {{ $name | quote }}
  value: {{ include "wasp.text" $value | quote }}
{{- end }}
{{- else if .Values.extraEnv }}
{{ toYaml .Values.extraEnv }}
{{- end }}
{{- end -}}

{{- define "wasp.resources" -}}
{{- if or .requests .limits }}
resources:
  {{- with .requests }}
  requests: {{- include "wasp.texts" . | nindent 4 }}
  {{- end }}
  {{- with .limits }}
  limits: {{- include "wasp.texts" . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "wasp.restricted" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop:
      - ALL
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - name: tmp
    mountPath: /tmp
{{- end -}}

{{/* What pods of nodes and of the controller have in common. */}}
{{- define "wasp.pod" -}}
restartPolicy: Never
automountServiceAccountToken: true
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "wasp.seconds" .Values.drain }}
securityContext:
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
{{- if eq (toString .Values.hostNetwork) "true" }}
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ if kindIs "string" . }}{{ . | quote }}{{ else }}{{ .name | quote }}{{ end }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- include "wasp.texts" . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClass }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.schedulerName }}
schedulerName: {{ . | quote }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {}
{{- end -}}
