{{- define "tandemmq.name" -}}
tandemmq-operator
{{- end }}

{{- define "tandemmq.labels" -}}
app.kubernetes.io/name: tandemmq-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "tandemmq.selector" -}}
app.kubernetes.io/name: tandemmq-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What the operator does itself, and what it grants to brokers: it must hold both. */}}
{{- define "tandemmq.rules" -}}
- apiGroups: [tandemmq.io]
  resources: [brokerclusters]
  verbs: [get, list, watch, patch]
- apiGroups: [tandemmq.io]
  resources: [brokerclusters/status]
  verbs: [get, update, patch]
- apiGroups: [tandemmq.io]
  resources: [brokerclusters/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps, serviceaccounts, secrets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
