"""Apps that break rules for what is read, what wakes, and what stands in a pod."""

from cdk8s import JsonPatch

from eks_inference import Activation, CompileCache, QueueScaling, Signal
from tests.library.broken_rule import (
    BLIND,
    COLON_BLIND,
    CONTAINER,
    ENVIRONMENT,
    FORMULA,
    HELD,
    OF_ALL_BLIND,
    ROUTE,
    RUNNING,
    Broken,
    patched,
    query,
)

MORE_SIGNALS = [
    Broken(
        rule="noFallback",
        model=query(f"{RUNNING} or vector(0)"),
        says=[
            (
                "query of trigger 'running' must not be zero without series, got "
                f"{RUNNING + ' or vector(0)'!r}; remove 'or vector(0)'"
            )
        ],
    ),
    Broken(
        rule="queryWithoutAggregation",
        model={
            "scaling": QueueScaling(activation=Activation.gateway("envoy_requests"))
        },
        says=[
            (
                "query of trigger 'gateway' must yield one number, got "
                "'envoy_requests'; wrap it in sum(...)"
            )
        ],
    ),
    Broken(
        rule="queryOfAllModels",
        model={
            **BLIND,
            **patched(
                "ScaledObject",
                JsonPatch.replace(
                    "/spec/triggers/0/metadata/metricQuery", OF_ALL_BLIND
                ),
            ),
        },
        says=[
            (
                "query of trigger 'running' must name the model in each metric, got "
                f"{OF_ALL_BLIND!r}; add deployment=mistral"
            )
        ],
    ),
    Broken(
        rule="metricWithoutColon",
        model={
            "signal": Signal.kedify(),
            **patched(
                "ScaledObject",
                JsonPatch.replace("/spec/triggers/0/metadata/metricQuery", COLON_BLIND),
            ),
        },
        says=[
            (
                "query of trigger 'running' must use the names that its source has, "
                "got 'vllm:num_requests_running'; write 'vllm_num_requests_running'"
            )
        ],
    ),
    *(
        Broken(
            rule="blindSignal",
            model={"signal": signal, "scaling": scaling},
            says=[
                (
                    "'signal' must see an outage with 'min_replicas' 0 or an "
                    "'activation', got an OpenTelemetry scaler, which would send a "
                    "busy model to sleep; use Signal.prometheus() or Signal.amp(...)"
                )
            ],
        )
        for signal in (Signal.otel_scaler(), Signal.kedify())
        for scaling in (
            QueueScaling(activation=Activation.http()),
            QueueScaling(min_replicas=0, activation=Activation.http()),
        )
    ),
    Broken(
        rule="blindSignal",
        model={**BLIND, "scaling": QueueScaling(scale_down_window_seconds=300)},
        says=[
            (
                "'scale_down_window_seconds' must be at least 600 with an "
                "OpenTelemetry scaler, got 300; raise it or leave it out"
            )
        ],
    ),
    Broken(
        rule="blindSignal",
        model={
            **BLIND,
            **patched(
                "ScaledObject",
                JsonPatch.replace(FORMULA, "running + waiting * 10"),
                JsonPatch.remove("/spec/triggers/3"),
                JsonPatch.remove("/spec/triggers/2"),
            ),
        },
        says=[
            (
                "'formula' must hold the replicas while no pod reports, got 'running + "
                f"waiting * 10' without {name!r} ({what}); leave the rendered one in "
                "place"
            )
            for name, what in (
                ("alive", "how many pods report"),
                ("pods", "how many there are"),
            )
        ],
    ),
    Broken(
        rule="unsoundFormula",
        model=patched("ScaledObject", JsonPatch.replace(FORMULA, "running")),
        says=[
            (
                "'formula' must use every trigger, got 'running' without waiting; use "
                "or remove them"
            )
        ],
    ),
    Broken(
        rule="unsoundFormula",
        model=patched("ScaledObject", JsonPatch.replace(FORMULA, "running / waiting")),
        says=[
            (
                "'formula' must not divide by what can be zero, got it in 'running / "
                "waiting'; divide by a number, or by max(..., 1)"
            )
        ],
    ),
    Broken(
        rule="unsoundFormula",
        model=patched("ScaledObject", JsonPatch.replace(FORMULA, "running + queued")),
        says=[
            (
                "formula 'running + queued': must only use the triggers "
                "(running, waiting), got 'queued'"
            )
        ],
    ),
    Broken(
        rule="unsoundFormula",
        model=patched(
            "ScaledObject",
            JsonPatch.replace(FORMULA, "(running ?? 0) + waiting * 10"),
        ),
        says=[
            (
                "'formula' must not put a number in place of a metric that is missing, "
                "got '??' in '(running ?? 0) + waiting * 10': an outage would look "
                "like that load; remove it, and let the fallback keep the replicas"
            )
        ],
    ),
    Broken(
        rule="unsoundFormula",
        model=patched(
            "ScaledObject",
            JsonPatch.replace("/spec/triggers/1/name", "wait-ing"),
            JsonPatch.replace(FORMULA, "running"),
        ),
        says=[
            (
                "'name' of a trigger must be an identifier with a formula, got "
                "'wait-ing'; use letters, digits and '_'"
            ),
            (
                "'formula' must use every trigger, got 'running' without wait-ing; use "
                "or remove them"
            ),
        ],
    ),
    Broken(
        rule="activationTargetAboveZero",
        model=patched(
            "ScaledObject",
            JsonPatch.add("/spec/advanced/scalingModifiers/activationTarget", "5"),
        ),
        says=[
            (
                "'activationTarget' must be '0', got '5'; remove it: with one replica "
                "at least it has no effect, and without it would end requests"
            )
        ],
    ),
    Broken(
        rule="activationTargetAboveZero",
        model=patched(
            "ScaledObject",
            JsonPatch.add("/spec/triggers/0/metadata/activationThreshold", "5"),
        ),
        says=[
            "'activationThreshold' of trigger 'running' must be '0', got '5'; remove it"
        ],
    ),
    *(
        Broken(
            rule="heldRequestTooShort",
            model={
                "scaling": HELD,
                **patched(
                    "InterceptorRoute", JsonPatch.replace(f"{ROUTE}/{name}", "2m")
                ),
            },
            says=[
                (
                    f"'timeouts.{name}' must be at least what nine of ten cold starts "
                    "take (422 s), got '2m'; raise it or leave the rendered one in "
                    "place"
                )
            ],
        )
        for name in ("readiness", "request")
    ),
    Broken(
        rule="heldRequestTooShort",
        model={
            "scaling": HELD,
            **patched("InterceptorRoute", JsonPatch.remove(f"{ROUTE}/responseHeader")),
        },
        says=[
            (
                "'timeouts.responseHeader' must be '0s', got '300s': an answer that is "
                "not streamed has no header before its end; leave the rendered one in "
                "place"
            )
        ],
    ),
    Broken(
        rule="apiKeyInManifest",
        model=patched(
            "Deployment", JsonPatch.add(f"{CONTAINER}/args/-", "--api-key=hunter2")
        ),
        says=[
            (
                "'--api-key' must not be an argument, got one; pass SecretKey(...) as "
                "'api_key'"
            )
        ],
    ),
    Broken(
        rule="apiKeyInManifest",
        model=patched(
            "Deployment",
            JsonPatch.add(
                f"{ENVIRONMENT}/-", {"name": "VLLM_API_KEY", "value": "hunter2"}
            ),
        ),
        says=[
            (
                "'VLLM_API_KEY' must come from a Secret, got a value; pass "
                "SecretKey(...) as 'api_key'"
            )
        ],
    ),
    Broken(
        rule="streamerCredentials",
        model=patched(
            "Deployment",
            JsonPatch.add(
                f"{ENVIRONMENT}/-",
                {"name": "RUNAI_STREAMER_NO_BOTO3_SESSION", "value": "1"},
            ),
        ),
        says=["'RUNAI_STREAMER_NO_BOTO3_SESSION' must be left out, got '1'; remove it"],
    ),
    Broken(
        rule="streamerCredentials",
        model=patched("Deployment", JsonPatch.remove(f"{ENVIRONMENT}/0")),
        says=["'AWS_REGION' must be given, got none; leave the rendered one in place"],
    ),
    *(
        Broken(
            rule="streamerMemory",
            model=patched(
                "Deployment", JsonPatch.replace(f"{ENVIRONMENT}/1/value", value)
            ),
            says=[text],
        )
        for value, text in (
            (
                "-1",
                (
                    "'RUNAI_STREAMER_MEMORY_LIMIT' must be given in bytes, got '-1'; "
                    "leave the rendered one in place"
                ),
            ),
            (
                "40000000000",
                (
                    "'RUNAI_STREAMER_MEMORY_LIMIT' must be at most half of the pod's "
                    "memory (12Gi), got 40000000000; lower it or raise 'memory_gib'"
                ),
            ),
        )
    ),
    *(
        Broken(
            rule="unprotectedStart",
            model=patched("Deployment", change),
            says=[
                (
                    "'karpenter.sh/do-not-disrupt' must be a duration such as '900s', "
                    f"got {value!r}; leave the rendered one in place"
                )
            ],
        )
        for value, change in (
            (None, JsonPatch.remove("/spec/template/metadata/annotations")),
            (
                "true",
                JsonPatch.replace(
                    "/spec/template/metadata/annotations",
                    {"karpenter.sh/do-not-disrupt": "true"},
                ),
            ),
        )
    ),
    Broken(
        rule="notReadyProbe",
        model=patched("Deployment", JsonPatch.remove(f"{CONTAINER}/readinessProbe")),
        says=[
            "'readinessProbe' must be given, got none; leave the rendered one in place"
        ],
    ),
    Broken(
        rule="sharedCacheRoot",
        model={
            "compile_cache": CompileCache.from_claim_name("kernels"),
            **patched(
                "Deployment", JsonPatch.remove(f"{CONTAINER}/volumeMounts/2/subPath")
            ),
        },
        says=[
            (
                "volume 'cache' must be mounted at a directory of the model's own, got "
                "its root; leave the rendered 'subPath' in place"
            )
        ],
    ),
]
