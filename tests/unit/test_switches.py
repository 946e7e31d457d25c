"""Which switches of Ghostscript may be added, and how options for the look of pages are understood."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sshrender.api.renderoptions import rendering_of, require_allowed
from sshrender.config import pagesizes, recipes
from sshrender.config.recipeappearance import AppearanceRequest, NoEqual
from sshrender.config.settings import Settings, resolve, validated
from sshrender.coordinator.jobplan import JobPlan
from sshrender.errors import ExitCode, UserError
from sshrender.job import iccprofiles
from sshrender.job.documentidentity import DocumentReplaced
from sshrender.job.folder import JobFolder
from sshrender.job.spec import RecipeRecord, RenderSettings, job_name
from sshrender.job.verification.errors import VerificationFailed
from sshrender.job.verification.verify import Expected, _accept
from sshrender.renderers import switches
from sshrender.renderers.appearance import antialias_bits, ghostscript_switches, page_box
from sshrender.renderers.devices import DEVICES

SETTINGS = RenderSettings(device="png16m", dpi=150, pages="1-10")

ALLOWED = [
    *("-dTextAlphaBits=4", "-DGraphicsAlphaBits#2", "-dOverprint=/simulate", "-dUseCropBox"),
    *("-dUseCropBox=true", "-dJPEGQ=90", "-dDownScaleFactor=3", "-dBackgroundColor=16#FFFFFF"),
    *("-dBufferSpace=16m", "-dMinFeatureSize=2", "-dStrokeWidth=-1.5e3", "-dX.Y=null", "-sPAPERSIZE=a4"),
    *("-sICCOutputColors=Cyan, Black", "-sDefaultRGBProfile=srgb.icc", "-dNOTRANSPARENCY", "-dNOCACHE"),
    *("-dPDFFitPage", "-dShowAnnots=false", "-dPDFSTOPONERROR", "-dInterpolateControl=0"),
]

REFUSED = {
    "safety": [
        "-dSAFER",
        "-dNOSAFER=false",
        "-dDELAYSAFER",
        "-dPARANOIDSAFER",
        "-DNOSAFER",
        "-dOLDSAFER",
    ],
    "safety again": ["--permit-file-all=/", "-sPermitFileReading=/", "-dWRITESYSTEMDICT", "-dDELAYBIND"],
    "files": ["-sOutputFile=x", "-sOUTPUTFILE#x", "-o", "-ox", "-sstdout=%stderr", "-sFONTPATH=/home"],
    "more files": [
        "-sGenericResourceDir=/",
        "-sICCProfilesDir=/",
        "-sFAPIfontmap=x",
        "-I/x",
        "@x",
        "-f",
    ],
    "files by values": [
        "-sFoo=/etc/passwd",
        "-sFoo=%pipe%id",
        "-sFoo=..",
        "-sFoo=|id",
        "-sSourceObjectICC=x",
    ],
    "device": ["-sDEVICE=pdfwrite", "-SDEVICE#pdfwrite", "-dNODISPLAY", "-sdevice=x"],
    "resolution": ["-r300", "-dHWResolution=300", "-dDEVICEXRESOLUTION=3", "-g3x3", "-dDEVICEWIDTH=3"],
    "pages": ["-dFirstPage=2", "-dLastPage#2", "-sPageList=1", "-dNumCopies=2", "-dNUMCOPIES=2"],
    "dialogue": ["-dBATCH", "-dNOPAUSE=false", "-dQUIET", "-dJOBSERVER", "-sSSHRENDER=x", "-dTTYPAUSE"],
    "secrets": ["-sPDFPassword=secret"],
    "PostScript": [
        "-c",
        "quit",
        "-dX=(a)",
        "-dX={quit}",
        "-dX=[1]",
        "-dX=<41>",
        "-dX=1 quit",
        "-dX=print",
    ],
    "operators": [
        "-dprint=1",
        "-srunpdfbegin=x",
        "-d.quit",
        "-dflush",
        "-ddopdfpages=1",
        "-d=1",
        "-d",
        "",
    ],
    "odd": [
        "-sX=a\0b",
        "-sX=a\nb",
        "-dX=1\n",
        "-dX =1",
        "- dX",
        "-sX=\x9b",
        "-sX=\udc80",
        "-sX=" + "x" * 1000,
    ],
    "values": [
        *(
            "-dTextAlphaBits=3",
            "-dGraphicsAlphaBits",
            "-dAdjustWidth=x",
            "-dInterpolateControl=9999999999",
        ),
        "-dDownScaleFactor=0",
        "-dDownScaleFactor=9",
        "-sDownScaleFactor=2",
        "-sUseCropBox=true",
    ],
    "profiles": ["-sOutputICCProfile=", "-sOutputICCProfile", "-dOutputICCProfile=/x"],
}


@pytest.mark.parametrize("text", ALLOWED)
def test_a_switch_that_sets_a_parameter_is_allowed(text: str) -> None:
    switches.parse(text)


@pytest.mark.parametrize("texts", REFUSED.values(), ids=REFUSED)
def test_other_switches_are_refused_by_name_with_the_reason(texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(ValueError, match=r": .{10}") as refused:
            switches.parse(text)
        reason = str(refused.value)
        assert reason.isprintable(), text
        assert not text[:12].isprintable() or text[:12].partition("=")[0].partition("#")[0][2:] in reason


@pytest.mark.parametrize("name", [*switches.REFUSED])
def test_no_spelling_of_a_refused_switch_is_allowed(name: str) -> None:
    for spelt in (name, name.lower(), name.title(), "." + name):
        for letter in "dDsS":
            for value in ("", "=1", "#1", "=", "=true"):
                with pytest.raises(ValueError, match=name if spelt == name else "(?i)" + name):
                    switches.parse(f"-{letter}{spelt}{value}")


@given(st.text(max_size=30), st.sampled_from(["-d", "-s", ""]))
def test_what_is_allowed_is_one_parameter_and_one_plain_value(text: str, start: str) -> None:
    try:
        found = switches.parse(start + text)
    except ValueError:
        return
    assert found.name[0].isupper()
    assert found.name.replace("_", "").replace(".", "").isalnum()
    assert found.name.upper() not in switches.REFUSED
    assert not set(found.value or "") & set("(){}[]<>\0\n\r") or found.kind == "s"


def test_all_mistakes_in_switches_are_reported_together() -> None:
    with pytest.raises(UserError) as error:
        resolve({"gs_options": ["-dSAFER", "-dNOCACHE", "-r30"]}, environ={})
    assert error.value.code == ExitCode.USAGE
    assert "--gs-option" in error.value.what
    assert "-dSAFER is not allowed" in error.value.what
    assert "-r30 is not allowed: --dpi" in error.value.what


def test_a_variable_holds_several_switches_quoted_as_in_a_shell() -> None:
    environ = {"SSHRENDER_GS_OPTION": "-dNOCACHE '-sICCOutputColors=Cyan, Black'"}
    found = resolve({}, environ=environ).settings
    assert found.gs_options == ("-dNOCACHE", "-sICCOutputColors=Cyan, Black")


def test_a_job_with_a_refused_switch_is_damaged() -> None:
    for option in ("-dNOSAFER", "-sOutputFile=/etc/passwd", "-sOutputICCProfile=/etc/passwd"):
        with pytest.raises(ValidationError):
            RenderSettings(device="png16m", dpi=150, pages="1", options=(option,))
    for name in ("../x", "a/../../x", "x\n", "x/"):
        with pytest.raises(ValidationError):
            RenderSettings(device="png16m", dpi=150, pages="1", profile_name=name)


# Smoothing


@pytest.mark.parametrize(
    ("device", "dpi", "bits"),
    [
        *[("png16m", 150, 4), ("png16m", 200, 4), ("png16m", 200.5, 0), ("pnggray", 72, 4)],
        *[("jpegcmyk", 100, 4), ("tiffg4", 100, 0), ("pngmonod", 100, 0), ("png256", 100, 0)],
        *[("png48", 100, 0), ("tiff12nc", 100, 0), ("tiffscaled", 100, 0), ("tiffscaled8", 100, 4)],
    ],
)
def test_auto_smooths_devices_of_8_bits_up_to_200_dpi(device: str, dpi: float, bits: int) -> None:
    assert antialias_bits("auto", DEVICES[device], (dpi, dpi)) == bits
    assert antialias_bits("none", DEVICES[device], (dpi, dpi)) == 0
    assert antialias_bits("2", DEVICES[device], (dpi, dpi)) == 2


def test_the_higher_resolution_counts_and_own_switches_turn_auto_off() -> None:
    assert antialias_bits("auto", DEVICES["png16m"], (204, 98)) == 0
    assert antialias_bits("auto", DEVICES["png16m"], (98, 204)) == 0
    assert antialias_bits("auto", DEVICES["png16m"], (98, 98), ["-dTextAlphaBits=1"]) == 0


def test_own_switches_come_last() -> None:
    look = SETTINGS.appearance._replace(antialias=4, size=(30, 40))
    words = ghostscript_switches(look, ["-dTextAlphaBits=1"])
    assert words[-1] == "-dTextAlphaBits=1"
    assert words[:2] == ["-dTextAlphaBits=4", "-dGraphicsAlphaBits=4"]
    assert "-g30x40" in words


# Identity


def test_a_job_without_these_settings_keeps_the_name_that_it_had_before() -> None:
    identity = '["%s", {"device": "png16m", "dpi": 150.0, "options": [], "pages": "1-10", "split": 0}]'
    digest = hashlib.sha256((identity % ("a" * 64)).encode()).hexdigest()
    assert job_name("big", "a" * 64, SETTINGS) == f"big-{digest[:8]}"


def test_each_setting_is_part_of_the_jobs_name() -> None:
    changes: dict[str, dict[str, object]] = {
        "nothing": {},
        "a resolution": {"vertical_dpi": 98.0},
        "a little smoothing": {"antialias": 2},
        "smoothing": {"antialias": 4},
        "a box": {"box": "crop"},
        "the worst quality": {"jpeg_quality": 0},
        "a quality": {"jpeg_quality": 90},
        "a size": {"size": (1, 2)},
        "another size": {"size": (2, 1)},
        "a switch": {"options": ("-dNOCACHE",)},
        "a profile": {"profile_name": "a.icc"},
    }
    names = [job_name("a", "0" * 64, SETTINGS.model_copy(update=change)) for change in changes.values()]
    assert len(set(names)) == len(names)


def test_media_is_ghostscripts_own_box() -> None:
    assert rendering_of(validated({"box": "media"})) == rendering_of(validated({}))
    assert rendering_of(validated({"dpi": "300x300"})) == rendering_of(validated({"dpi": 300}))


# What is expected of a page


def test_the_box_of_a_page_follows_the_switches() -> None:
    look = SETTINGS.appearance
    assert page_box(look, []) == "media"
    assert page_box(look._replace(box="trim"), []) == "trim"
    assert page_box(look, ["-dUseCropBox"]) == "crop"
    assert page_box(look, ["-dUseCropBox", "-dUseCropBox=false"]) == "media"
    assert page_box(look, ["-dUseCropBox", "-dUseArtBox"]) == ""  # which one, depends on the page
    assert page_box(look._replace(box="crop"), ["-dUseCropBox"]) == "crop"
    assert page_box(look, ["-dPDFFitPage"]) == ""


def test_a_page_of_another_size_is_refused() -> None:
    plain = Expected(DEVICES["png16m"], 72, (100, 200))
    cases = [
        (plain._replace(vertical_dpi=36), (100, 100)),
        (plain._replace(fixed_size=(40, 50)), (40, 50)),
        (plain._replace(downscale=2), (50, 100)),
        (plain._replace(downscale=2, fixed_size=(41, 50)), (20, 25)),
        (plain._replace(is_sized=False, fixed_size=(40, 50)), (40, 50)),
    ]
    for expected, size in cases:
        _accept(size, expected)
        for wrong in ((size[0] + 3, size[1]), (size[0], size[1] + 3)):
            with pytest.raises(VerificationFailed):
                _accept(wrong, expected)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *[("A4", (1240, 1754)), ("a3", (1754, 2480)), ("letter", (1275, 1650)), ("B5", (1039, 1476))],
        *[("210x297mm", (1240, 1754)), ("21x29.7cm", (1240, 1754)), ("72x36pt", (150, 75))],
        *[("8.5x11in", (1275, 1650)), ("1240x1754px", (1240, 1754))],
    ],
)
def test_a_size_in_pixels(text: str, found: tuple[int, int]) -> None:
    assert pagesizes.pixels(text, (150, 150)) == found


def test_a_size_at_two_resolutions() -> None:
    assert pagesizes.pixels("1x2in", (204, 98)) == (204, 196)
    assert pagesizes.pixels("10x20px", (204, 98)) == (10, 20)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": "A44"}, "did you mean A4?"),
        ({"size": "1x1"}, "210x297mm"),
        ({"size": "0x5mm"}, "more than 0"),
        ({"size": "1.5x5px"}, "whole"),
        ({"dpi": "204x"}, "204x98"),
        ({"dpi": "0x98"}, "more than 0"),
        ({"dpi": "nan"}, "more than 0"),
        ({"dpi": 14401}, "14400"),
        ({"antialias": "3"}, "2 or 4"),
        ({"box": "page"}, "trim"),
        ({"jpeg_quality": "101"}, "100"),
    ],
)
def test_a_wrong_value_is_refused_with_its_form(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(settings, environ={})
    assert error.value.code == ExitCode.USAGE
    assert words in error.value.what


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"jpeg_quality": 90}, "--jpeg-quality 90: png16m does not write JPEG"),
        ({"device": "tiffg4", "gs_options": ["-dDownScaleFactor=2"]}, "device tiffg4 cannot do that"),
        ({"size": "A4", "gs_options": ["-sPAPERSIZE=a5"]}, "-sPAPERSIZE: --size decides"),
        ({"gs_options": ["-dPDFFitPage"]}, "-dPDFFitPage: hosts may have different default papers"),
        ({"size": "600x600in"}, "90000 x 90000 pixels"),
        ({"gs_options": ["-sProofProfile=/nowhere/x.icc"]}, "-sProofProfile: /nowhere/x.icc: No such"),
        ({"gs_options": [f"-sProofProfile={__file__}"]}, "not an ICC profile"),
        ({"recipe": "mutool", "box": "trim"}, "--box trim: recipe mutool has no equal of it"),
        ({"recipe": "mutool", "dpi": "204x98"}, "--dpi 204x98: recipe mutool"),
        ({"recipe": "mutool", "jpeg_quality": 9}, "--jpeg-quality 9: recipe mutool"),
        ({"recipe": "pdftoppm", "size": "A4"}, "--size: recipe pdftoppm"),
        ({"recipe": "pdftoppm", "antialias": "2"}, "--antialias 2: recipe pdftoppm"),
        ({"fallback": ["mutool"], "gs_options": ["-dNOCACHE"]}, "--gs-option: recipe mutool"),
    ],
)
def test_what_a_renderer_cannot_do_is_refused_by_name(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError) as error:
        rendering_of(validated(settings))
    assert error.value.code == ExitCode.USAGE
    assert words in error.value.what
    assert error.value.hint


# Recipes


def _steps(name: str, request: AppearanceRequest) -> list[str]:
    return list(recipes.as_sent([name], {}, request)[0]["steps"][0])


def test_recipes_of_the_program_get_words_for_the_look() -> None:
    assert recipes.as_sent(["mutool"], {}, AppearanceRequest()) == recipes.as_sent(["mutool"], {})
    words = _steps("mutool", AppearanceRequest(antialias="2", box="crop", size=(30, 40)))
    assert words[3:9] == ["-w", "30", "-h", "40", "-A", "2"]
    words = _steps("pdftoppm", AppearanceRequest(antialias="none", box="crop", dpi=(204, 98)))
    assert " ".join(words[3:]).startswith("-rx 204 -ry 98 -aa no -aaVector no -cropbox -f")
    grey = _steps("mutool", AppearanceRequest(antialias="2", device="pnggray"))
    assert grey[3:9] == ["-r", "{dpi}", "-A", "2", "-c", "gray"]
    assert "-mono" in _steps("pdftoppm", AppearanceRequest(device="pngmono"))


def test_a_device_that_a_recipe_cannot_imitate_is_refused_with_those_that_work() -> None:
    for device in ("jpeg", "tiffg4", "pngmono"):
        with pytest.raises(NoEqual, match=f"--device {device}: .* only of png16m and pnggray"):
            _steps("mutool", AppearanceRequest(device=device))


def test_an_own_recipe_does_it_by_its_fields_or_is_refused() -> None:
    own = {
        "plain": recipes.RecipeSettings(command=["x", "{document}"], extension="png"),
        "able": recipes.RecipeSettings(
            shell='x $dpi_x ${dpi_y} "$box" $width$height $antialias', extension="png"
        ),
    }
    request = AppearanceRequest(antialias="4", box="art", dpi=(1, 2), size=(3, 4))
    assert recipes.as_sent(["able"], own, request)[0]["shell"] == own["able"].shell
    for each in (
        request,
        AppearanceRequest(box="art"),
        AppearanceRequest(antialias="none"),
        AppearanceRequest(size=(3, 4)),
    ):
        with pytest.raises(NoEqual, match="recipe plain"):
            recipes.as_sent(["plain"], own, each)


def test_a_recipe_with_words_for_the_look_is_still_the_configured_one() -> None:
    settings = validated({"recipe": "mutool", "antialias": "2", "size": "30x40px"})
    how = rendering_of(settings)
    site = Settings(recipes_allowed="configured")
    require_allowed(site, "job", how.recipes, how.dpi, how.appearance)
    step = [*how.recipes[0].steps[0], "-p", "x"]
    other = RecipeRecord(**{**how.recipes[0].model_dump(), "steps": (tuple(step),)})
    with pytest.raises(UserError):
        require_allowed(site, "job", (other,), how.dpi, how.appearance)


# ICC profiles

PROFILE = b"\0" * 16 + b"RGB XYZ " + b"\0" * 12 + b"acsp" + b"\0" * 100


def test_a_profile_is_named_by_its_content_and_guarded(tmp_path: Path) -> None:
    (tmp_path / "my x.icc").write_bytes(PROFILE)
    folder = JobFolder(tmp_path / "job")
    folder.path.mkdir()
    found = iccprofiles.taken([f"-sOutputICCProfile={tmp_path}/my x.icc", "-sProofProfile=srgb.icc"])
    assert found.output_name == f"{tmp_path}/my x.icc"
    assert found.options[1] == "-sProofProfile=srgb.icc"  # Ghostscript's own
    name = iccprofiles.names(found.options)[0]
    assert found.options[0] == f"-sOutputICCProfile={name}"
    assert hashlib.sha256(PROFILE).hexdigest() in name
    with pytest.raises(UserError, match="missing"):
        iccprofiles.require(folder, found.options)
    iccprofiles.copy(folder, found.profiles)
    stamps = iccprofiles.require(folder, found.options)
    assert iccprofiles.are_same(folder, stamps)
    path = folder.path / name
    path.unlink()
    path.write_bytes(PROFILE)
    assert iccprofiles.are_same(folder, stamps)  # a new file of the same content
    path.write_bytes(PROFILE.replace(b"XYZ", b"Lab"))
    assert not iccprofiles.are_same(folder, stamps)
    path.unlink()
    path.symlink_to(tmp_path / "my x.icc")
    assert not iccprofiles.are_same(folder, stamps)
    iccprofiles.copy(folder, found.profiles)
    assert iccprofiles.are_same(folder, stamps)
    assert not path.is_symlink()


def test_no_page_is_published_after_a_profile_was_changed(tmp_path: Path) -> None:
    profile = iccprofiles.Profile(f"profile-{hashlib.sha256(PROFILE).hexdigest()}.icc", PROFILE)
    folder = JobFolder(tmp_path)
    iccprofiles.copy(folder, [profile])
    nothing: Any = None
    plan = JobPlan(nothing, nothing, folder, tmp_path, [], nothing, nothing)
    plan.profile_stamps = iccprofiles.require(folder, [f"-sProofProfile={profile.name}"])
    plan.require_document()
    (tmp_path / profile.name).write_bytes(PROFILE + b"\0")
    with pytest.raises(DocumentReplaced):
        plan.require_document()


def test_a_profile_of_other_colours_than_the_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.icc").write_bytes(PROFILE)
    options = {"gs_options": [f"-sOutputICCProfile={tmp_path}/x.icc"]}
    assert rendering_of(validated(options)).taken.profiles
    with pytest.raises(UserError, match="RGB colours, and device pnggray has GRAY"):
        rendering_of(validated({**options, "device": "pnggray"}))


def test_a_name_that_leads_upwards_becomes_a_whole_path(tmp_path: Path) -> None:
    (tmp_path / "x.icc").write_bytes(PROFILE)
    (tmp_path / "sub").mkdir()
    found = iccprofiles.taken([f"-sOutputICCProfile={tmp_path}/sub/../x.icc"])
    assert found.output_name == f"{tmp_path}/x.icc"
