"""The three shells' languages: each function returns a completion script for a tree of commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docs.completions import Command, Option, Value

_BASH = r"""# Completion for bash; installed as share/bash-completion/completions/sshrender.
# @MADE@

# Ask the program for names; $1: hosts, jobs or recipes.
_sshrender_names() {
    local line words
    [[ $cur =~ ^[A-Za-z0-9_.,+-]*$ && $cur != -* ]] || return
    case $1 in
        hosts) words="sshrender drain $cur" ;;
        jobs) words="sshrender status $cur" ;;
        recipes) words="sshrender render --recipe $cur" ;;
    esac
    local -a split=($words)
    [[ -z $cur ]] && split+=("")
    while IFS= read -r line; do
        [[ -n $line ]] && COMPREPLY+=("$line")
    done < <(COMP_WORDS="$words" COMP_CWORD=$((${#split[@]} - 1)) _SSHRENDER_COMPLETE=complete_bash \
        "${COMP_WORDS[0]}" 2>/dev/null)
    # A job may also be named by its folder.
    [[ $1 == jobs && ${#COMPREPLY[@]} -eq 0 ]] && compopt -o dirnames 2>/dev/null
}

# Offer values; $1: their kind, or = and the values themselves. Without an answer bash offers files.
_sshrender_offer() {
    local line
    case $1 in
        =*) COMPREPLY=($(compgen -W "${1#=}" -- "$cur")) ;;
        files) compopt -o default 2>/dev/null ;;
        folders) compopt -o dirnames 2>/dev/null ;;
        documents)
            compopt -o filenames -o default 2>/dev/null
            # Quoted names are left to bash.
            [[ $cur == *[\'\"\\\$\`]* ]] && return
            while IFS= read -r line; do
                if [[ -d ${line/#\~\//$HOME/} || ${line,,} == *.pdf ]]; then
                    COMPREPLY+=("$line")
                fi
            done < <(compgen -f -- "$cur")
            ;;
        none) ;;
        *) _sshrender_names "$1" ;;
    esac
}

_sshrender() {
    local cur=${COMP_WORDS[COMP_CWORD]} command="" option="" word kind="" options="" values="" count=0
    local i is_bare=""
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        option=""
        if [[ -z $is_bare && $word == -- ]]; then
            is_bare=1
        elif [[ -z $is_bare && $word == -* ]]; then
            if [[ " $_sshrender_valued " == *" $word "* ]]; then
                # Bash makes three words of --option=value.
                [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))
                ((++i >= COMP_CWORD)) && option=$word
            fi
        elif [[ -z $command ]]; then
            command=$word
        elif [[ $command == config || $command == key ]]; then
            command+=" $word"
        else
            ((count++))
        fi
    done
    _sshrender_command
    if [[ -n $option ]]; then
        [[ $cur == = ]] && cur=""
        _sshrender_value "$command $option"
        _sshrender_offer "$kind"
    elif [[ $cur == -* && -z $is_bare ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
    else
        # The last kind is that of all further arguments, if it has a plus sign.
        local -a kinds
        IFS=';' read -r -a kinds <<<"$values"
        if ((count >= ${#kinds[@]} && ${#kinds[@]} > 0)); then
            kind=${kinds[-1]}
            [[ $kind == *+ ]] || kind=none
        else
            kind=${kinds[count]:-none}
        fi
        _sshrender_offer "${kind%+}"
    fi
}
"""


def bash(tree: Sequence[Command]) -> str:
    """Return the script for bash."""
    lines = [_BASH, "# Options that take a value."]
    valued = sorted({name for each in tree for option in _valued(each) for name in option.names})
    lines.append(f'_sshrender_valued="{" ".join(valued)}"')
    lines += [
        "",
        "# Set $options and $values of $command.",
        "_sshrender_command() {",
        "    case $command in",
    ]
    for each in tree:
        names = " ".join(name for option in each.options for name in option.names)
        kinds = ";".join(_bash_kind(value) + "+" * value.is_repeated for value in each.arguments)
        kinds = kinds or ("=" + " ".join(name for name, _ in each.commands) if each.commands else "")
        lines += [
            f'        "{each.path}")',
            f'            options="{names}"',
            f'            values="{kinds}"',
        ]
        lines.append("            ;;")
    lines += [
        "    esac",
        "}",
        "",
        "# Set $kind to what follows an option; $1: the command and the option.",
    ]
    lines += ["_sshrender_value() {", "    case $1 in"]
    for kind, patterns in _by_kind(tree).items():
        shown = " | \\\n            ".join(f'"{pattern}"' for pattern in patterns)
        lines.append(f"        {shown}) kind={_quoted(kind)} ;;")
    lines += ["        *) kind=none ;;", "    esac", "}", "", "complete -F _sshrender sshrender"]
    return "\n".join(lines) + "\n"


def _valued(command: Command) -> Iterator[Option]:
    return (option for option in command.options if option.value is not None)


def _bash_kind(value: Value) -> str:
    return "=" + " ".join(value.words) if value.words else value.kind


def _by_kind(tree: Iterable[Command]) -> dict[str, list[str]]:
    """Return for each kind the commands with the options that take it."""
    found: dict[str, list[str]] = {}
    for each in tree:
        for option in _valued(each):
            assert option.value is not None
            kind = _bash_kind(option.value)
            if kind != "none":
                found.setdefault(kind, []).extend(f"{each.path} {name}" for name in option.names)
    return found


_ZSH = r"""#compdef sshrender
# Completion for zsh; installed as share/zsh/site-functions/_sshrender.
# @MADE@

# Ask the program for names: hosts, jobs or recipes, the last word here. Those before it are for compadd.
_sshrender_names() {
    local kind=$@[-1]
    local -a found
    local typed=$PREFIX
    local -a before
    [[ $typed == [A-Za-z0-9_.,+-]# && $typed != -* ]] || return 1
    case $kind in
        hosts) before=(sshrender drain) ;;
        jobs) before=(sshrender status) ;;
        recipes) before=(sshrender render --recipe) ;;
    esac
    found=("${(@f)$(COMP_WORDS="$before $typed" COMP_CWORD=$#before _SSHRENDER_COMPLETE=complete_bash \
        $program 2>/dev/null)}")
    if [[ -n $found[1] ]]; then
        compadd "${@[1,-2]}" -a found
    elif [[ $kind == jobs ]]; then
        _files -/
    fi
}

"""

_ZSH_MAIN = r"""
_sshrender() {
    setopt localoptions extendedglob
    local program=$words[1] curcontext=$curcontext state line
    typeset -A opt_args
    _sshrender_of_
}

_sshrender "$@"
"""


def zsh(tree: Sequence[Command]) -> str:
    """Return the script for zsh."""
    blocks = [_zsh_group(each) if each.commands else _zsh_command(each) for each in tree]
    return _ZSH + "\n\n".join(blocks) + "\n" + _ZSH_MAIN


def _zsh_group(command: Command) -> str:
    described = [f"            {_quoted(f'{name}:{help_}')}" for name, help_ in command.commands]
    cases = [
        f"            {name}) _sshrender_of_{f'{command.path} {name}'.strip().replace(' ', '_')} ;;"
        for name, _ in command.commands
    ]
    return "\n".join(
        [
            f"_sshrender_of_{command.function}() {{",
            "    local -a commands",
            "    _arguments -C -S -A '-*' \\",
            *(f"        {spec} \\" for option in command.options for spec in _zsh_option(option)),
            "        '1: :->command' '*:: :->arguments' && return",
            "    case $state in",
            "        command)",
            "            commands=(",
            *(f"    {line}" for line in described),
            "            )",
            "            _describe -t commands command commands",
            "            ;;",
            "        arguments)",
            "            case $words[1] in",
            *(f"    {line}" for line in cases),
            "            esac",
            "            ;;",
            "    esac",
            "}",
        ]
    )


def _zsh_command(command: Command) -> str:
    lines = [f"        {spec} \\" for option in command.options for spec in _zsh_option(option)]
    for number, value in enumerate(command.arguments, start=1):
        place = "*" if value.is_repeated else str(number)
        lines.append(f"        {_quoted(f'{place}:{_zsh_value(value)}')} \\")
    lines[-1] = lines[-1].removesuffix(" \\")
    return "\n".join([f"_sshrender_of_{command.function}() {{", "    _arguments -s -S \\", *lines, "}"])


def _zsh_option(option: Option) -> Iterator[str]:
    """Yield one word for each name of an option."""
    escaped = option.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    others = "*" if option.is_repeated else f"({' '.join(option.names)})"
    for name in option.names:
        is_long = name.startswith("--")
        sign = "" if option.value is None else "=" if is_long else "+"
        value = "" if option.value is None else ":" + _zsh_value(option.value)
        yield _quoted(f"{others}{name}{sign}[{escaped}]{value}")


def _zsh_value(value: Value) -> str:
    action = {
        "files": "_files",
        "folders": "_files -/",
        "documents": '_files -g "(#i)*.pdf(-.)"',
        "none": " ",
        "words": f"({' '.join(value.words)})",
    }.get(value.kind, f"_sshrender_names {value.kind}")
    return f"{value.name.replace(':', chr(92) + ':')}:{action}"


_FISH = r"""# Completion for fish; installed as share/fish/vendor_completions.d/sshrender.fish.
# @MADE@

# Print the command that is being typed and, after it, the number of its arguments so far.
function __sshrender_command
    set -l words (commandline -opc)
    set -l found
    set -l count 0
    set -l skips 0
    for word in $words[2..-1]
        if test $skips = 1
            set skips 0
        else if string match -q -- '-*' $word
            contains -- $word $__sshrender_valued; and set skips 1
        else if test -z "$found"; or contains -- "$found" config key
            set found (string join ' ' $found $word)
        else
            set count (math $count + 1)
        end
    end
    echo "$found"
    echo $count
end

# Whether this command is being typed, and optionally its argument of this number.
function __sshrender_is
    set -l now (__sshrender_command)
    test "$now[1]" = "$argv[1]"; or return 1
    test (count $argv) = 1; or test "$now[2]" = "$argv[2]"
end

# Ask the program for names: hosts, jobs or recipes.
function __sshrender_names
    set -l typed (commandline -ct | string replace -r '^--[^=]*=' '')
    string match -qr '^([A-Za-z0-9_.,+][A-Za-z0-9_.,+-]*)?$' -- $typed; or return
    switch $argv[1]
        case hosts
            set -f line sshrender drain
        case jobs
            set -f line sshrender status
        case recipes
            set -f line sshrender render --recipe
    end
    env COMP_WORDS="$line $typed" COMP_CWORD=(count $line) _SSHRENDER_COMPLETE=complete_bash \
        (commandline -opc)[1] 2>/dev/null
end

"""


def fish(tree: Sequence[Command]) -> str:
    """Return the script for fish."""
    valued = sorted({name for each in tree for option in _valued(each) for name in option.names})
    lines = [f"set -g __sshrender_valued {' '.join(valued)}", "", "complete -c sshrender -f"]
    for each in tree:
        lines.append("")
        is_here = f'-n \'__sshrender_is "{each.path}"'
        for name, help_ in each.commands:
            lines.append(f"complete -c sshrender {is_here}' -a {name} -d {_fish_quoted(help_)}")
        for option in each.options:
            names = " ".join(_fish_name(name) for name in option.names)
            value = "" if option.value is None else f" {_fish_value(option.value)}"
            lines.append(
                f"complete -c sshrender {is_here}' {names}{value} -d {_fish_quoted(option.help)}"
            )
        for number, value_ in enumerate(each.arguments):
            place = "" if value_.is_repeated else f" {number}"
            offered = _fish_value(value_)
            if offered != "-x":
                lines.append(f"complete -c sshrender {is_here}{place}' {offered.replace('-x ', '')}")
    return _FISH + "\n".join(lines) + "\n"


def _fish_name(name: str) -> str:
    return f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"


def _fish_value(value: Value) -> str:
    return {
        "files": "-r -F",
        "folders": "-x -a '(__fish_complete_directories)'",
        "documents": "-x -k -a '(__fish_complete_suffix .pdf)'",
        "none": "-x",
        "words": f"-x -a {_fish_quoted(' '.join(value.words))}",
    }.get(value.kind, f"-x -a '(__sshrender_names {value.kind})'")


def _quoted(text: str) -> str:
    """Return a word in single quotes, for a POSIX shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
