"""A job's settings in words."""

from __future__ import annotations

from sshrender.job.spec import RenderSettings
from sshrender.views.rendersettings import settings_in_words

PLAIN = RenderSettings(device="png16m", dpi=300, pages="1")


def test_what_is_plain_needs_few_words() -> None:
    assert settings_in_words(PLAIN.model_dump()) == "png16m at 300 dpi"
    assert settings_in_words({"device": "png16m", "dpi": 300.0}) == "png16m at 300 dpi"


def test_every_setting_is_said_and_profiles_are_named_as_typed() -> None:
    file = f"profile-{'0123456789abcdef' * 4}.icc"
    settings = PLAIN.model_copy(
        update={
            "vertical_dpi": 98.0,
            "antialias": 2,
            "box": "crop",
            "size": (30, 40),
            "jpeg_quality": 0,
            "options": ("-dNOCACHE", f"-sOutputICCProfile={file}", f"-sProofProfile={file}"),
            "profile_name": "/a\\1/my\x1b paper.icc",
        }
    )
    words = settings_in_words(settings.model_dump(mode="json"))
    assert words.startswith(
        "png16m at 300x98 dpi, smoothed (2 bits), crop box, fitted into 30x40 pixels, JPEG quality 0,"
        " -dNOCACHE, -sOutputICCProfile=/a\\1/my"
    )
    assert words.endswith(" paper.icc, -sProofProfile=profile-01234567….icc")
    assert "\x1b" not in words
