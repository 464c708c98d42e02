# What the stub generator cannot see: it is made of Python's C API, or no object of nanobind's.
_engine.__suffix__:
    class Error(RuntimeError):
        """What the engine raises: `code`, `stage`, `message`, and `hint`, the remedy."""

        code: str
        stage: str
        message: str
        hint: str

    __version__: str
