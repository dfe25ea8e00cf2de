"""Names under which the cluster's Prometheus is found."""

MONITORING_NAMESPACE = "monitoring"

PROMETHEUS_RELEASE = "kube-prometheus-stack"
"""Name of the Helm release. The chart derives the server's Service from it, and the
library's default signal asks there."""
