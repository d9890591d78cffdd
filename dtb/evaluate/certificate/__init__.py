"""The certificate: tests, their verdict in words, and the page."""

from dtb.lazy import public_names

__all__ = ["Certificate", "CertificateTest", "claim_in_words"]

_FILES = {"Certificate": ".certify", "CertificateTest": ".certify", "claim_in_words": ".wording"}
__getattr__, __dir__ = public_names(__name__, _FILES)
