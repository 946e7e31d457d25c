# Completion for bash; installed as share/bash-completion/completions/sshrender.
# made from the commands: python -m docs.diagrams --write

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

# Options that take a value.
_sshrender_valued="--after --antialias --assemble --auth --avoid --base-path --bind --box --by --color --config --deadline --device --dpi --encoder --fallback --gs-option --host --hosts --interval --jobs --jpeg-quality --limit --log-file --mail-to --mail-when --max-upload --month --not-before --note --older-than --on --operator --output --page --page-memory --page-timeout --pages --password-file --pin --priority --progress --recipe --retries --san --sandbox --size --split --ssh-config --state --trusted-proxy --user --user-header --viewer --wait -o -r"

# Set $options and $values of $command.
_sshrender_command() {
    case $command in
        "")
            options="--version --install-completion --show-completion --help -h"
            values="=render resume submit coordinate hold release cancel resubmit alter clean report init hosts status why overview watch serve drain undrain move man config key"
            ;;
        "render")
            options="--output -o --overwrite --pages --password-file --assemble --overview --no-overview --overview-embed --split --hosts --on --avoid --pin --mixed --san --ssh-config --dpi -r --device --antialias --box --size --jpeg-quality --encoder --gs-option --recipe --fallback --sandbox --page-memory --retries --page-timeout --wait --deadline --strict --hedge --no-hedge --priority --limit --mail-to --mail-when --progress --quiet -q --verbose -v --stats --color --log-file --config --json --dry-run --help -h"
            values="documents+"
            ;;
        "resume")
            options="--output -o --overwrite --password-file --assemble --overview --no-overview --overview-embed --hosts --on --avoid --pin --mixed --san --ssh-config --sandbox --page-memory --retries --page-timeout --wait --deadline --strict --hedge --no-hedge --priority --limit --mail-to --mail-when --progress --quiet -q --verbose -v --stats --color --log-file --config --json --help -h"
            values="jobs"
            ;;
        "submit")
            options="--output -o --overwrite --pages --password-file --assemble --overview --no-overview --overview-embed --split --hosts --on --avoid --pin --mixed --san --ssh-config --dpi -r --device --antialias --box --size --jpeg-quality --encoder --gs-option --recipe --fallback --sandbox --page-memory --retries --page-timeout --wait --deadline --strict --hedge --no-hedge --priority --limit --mail-to --mail-when --quiet -q --verbose -v --log-file --config --json --hold --after --not-before --help -h"
            values="documents+"
            ;;
        "coordinate")
            options="--once --jobs --hosts --san --quiet -q --verbose -v --json --log-file --ssh-config --config --help -h"
            values=""
            ;;
        "hold")
            options="--note --hosts --san --json --config --help -h"
            values="jobs+"
            ;;
        "release")
            options="--hosts --san --json --config --help -h"
            values="jobs+"
            ;;
        "cancel")
            options="--hosts --san --json --config --help -h"
            values="jobs+"
            ;;
        "resubmit")
            options="--hosts --san --json --config --help -h"
            values="jobs+"
            ;;
        "alter")
            options="--priority --limit --after --not-before --output -o --hosts --san --json --config --help -h"
            values="jobs+"
            ;;
        "clean")
            options="--older-than --dry-run --yes -y --hosts --san --json --config --help -h"
            values="jobs+"
            ;;
        "report")
            options="--by --month --user --hosts --san --json --config --help -h"
            values=""
            ;;
        "init")
            options="--hosts --san --no-san --host --user --ssh-config --yes -y --force --check --no-check --json --help -h"
            values=""
            ;;
        "hosts")
            options="--hosts --on --avoid --san --sandbox --watch --verbose -v --json --ssh-config --config --help -h"
            values=""
            ;;
        "status")
            options="--state --user --all --stats --watch --interval --hosts --san --json --config --help -h"
            values="jobs"
            ;;
        "why")
            options="--page --host --hosts --san --json --config --help -h"
            values="jobs"
            ;;
        "overview")
            options="--embed -o --output --hosts --san --json --config --help -h"
            values="jobs"
            ;;
        "watch")
            options="--hosts --san --verbose -v --json --config --help -h"
            values="jobs"
            ;;
        "serve")
            options="--bind --base-path --host --auth --trusted-proxy --user-header --operator --viewer --max-upload --coordinate --hosts --san --sandbox --json --log-file --ssh-config --config --help -h"
            values=""
            ;;
        "drain")
            options="--note --hosts --san --json --config --help -h"
            values="hosts"
            ;;
        "undrain")
            options="--hosts --san --json --config --help -h"
            values="hosts"
            ;;
        "move")
            options="--hosts --san --json --config --help -h"
            values="jobs;none;hosts"
            ;;
        "man")
            options="--json --help -h"
            values="=sshrender render watch hosts job queue 7"
            ;;
        "config")
            options="--help -h"
            values="=show path validate schema values"
            ;;
        "config show")
            options="--config --json --help -h"
            values=""
            ;;
        "config path")
            options="--json --help -h"
            values=""
            ;;
        "config validate")
            options="--json --config --help -h"
            values="files+"
            ;;
        "config schema")
            options="--json --help -h"
            values="=hosts settings results"
            ;;
        "config values")
            options="--json --config --help -h"
            values="=output overwrite pages password_file assemble overview overview_embed split hosts on avoid pin mixed san ssh_config dpi device antialias box size jpeg_quality encoder gs_options recipe fallback sandbox page_memory retries page_timeout wait deadline strict hedge priority limit mail_to mail_when progress quiet verbose stats color log_file recipes recipes_allowed on_done+"
            ;;
        "key")
            options="--help -h"
            values="=show import path"
            ;;
        "key show")
            options="--json --help -h"
            values=""
            ;;
        "key import")
            options="--force --json --help -h"
            values="files"
            ;;
        "key path")
            options="--json --help -h"
            values=""
            ;;
    esac
}

# Set $kind to what follows an option; $1: the command and the option.
_sshrender_value() {
    case $1 in
        "render --output" | \
            "render -o" | \
            "render --san" | \
            "resume --output" | \
            "resume -o" | \
            "resume --san" | \
            "submit --output" | \
            "submit -o" | \
            "submit --san" | \
            "coordinate --san" | \
            "hold --san" | \
            "release --san" | \
            "cancel --san" | \
            "resubmit --san" | \
            "alter --output" | \
            "alter -o" | \
            "alter --san" | \
            "clean --san" | \
            "report --san" | \
            "init --san" | \
            "hosts --san" | \
            "status --san" | \
            "why --san" | \
            "overview --san" | \
            "watch --san" | \
            "serve --san" | \
            "drain --san" | \
            "undrain --san" | \
            "move --san") kind='folders' ;;
        "render --password-file" | \
            "render --hosts" | \
            "render --ssh-config" | \
            "render --log-file" | \
            "render --config" | \
            "resume --password-file" | \
            "resume --hosts" | \
            "resume --ssh-config" | \
            "resume --log-file" | \
            "resume --config" | \
            "submit --password-file" | \
            "submit --hosts" | \
            "submit --ssh-config" | \
            "submit --log-file" | \
            "submit --config" | \
            "coordinate --hosts" | \
            "coordinate --log-file" | \
            "coordinate --ssh-config" | \
            "coordinate --config" | \
            "hold --hosts" | \
            "hold --config" | \
            "release --hosts" | \
            "release --config" | \
            "cancel --hosts" | \
            "cancel --config" | \
            "resubmit --hosts" | \
            "resubmit --config" | \
            "alter --hosts" | \
            "alter --config" | \
            "clean --hosts" | \
            "clean --config" | \
            "report --hosts" | \
            "report --config" | \
            "init --hosts" | \
            "init --ssh-config" | \
            "hosts --hosts" | \
            "hosts --ssh-config" | \
            "hosts --config" | \
            "status --hosts" | \
            "status --config" | \
            "why --hosts" | \
            "why --config" | \
            "overview -o" | \
            "overview --output" | \
            "overview --hosts" | \
            "overview --config" | \
            "watch --hosts" | \
            "watch --config" | \
            "serve --hosts" | \
            "serve --log-file" | \
            "serve --ssh-config" | \
            "serve --config" | \
            "drain --hosts" | \
            "drain --config" | \
            "undrain --hosts" | \
            "undrain --config" | \
            "move --hosts" | \
            "move --config" | \
            "config show --config" | \
            "config validate --config" | \
            "config values --config") kind='files' ;;
        "render --assemble" | \
            "resume --assemble" | \
            "submit --assemble") kind='=pdf tiff zip cbz' ;;
        "render --on" | \
            "render --avoid" | \
            "resume --on" | \
            "resume --avoid" | \
            "submit --on" | \
            "submit --avoid" | \
            "hosts --on" | \
            "hosts --avoid" | \
            "why --host") kind='hosts' ;;
        "render --device" | \
            "submit --device") kind='=png16m png16malpha png256 png16 png48 pngalpha pnggray pngmono pngmonod jpeg jpeggray jpegcmyk tiffgray tiff12nc tiff24nc tiff32nc tiff48nc tiff64nc tiffcrle tiffg3 tiffg32d tiffg4 tifflzw tiffpack tiffscaled tiffscaled4 tiffscaled8 tiffscaled24 tiffscaled32 bmpmono bmpgray bmp16 bmp256 bmp16m bmp32b pbm pbmraw pgm pgmraw ppm ppmraw pgnm pgnmraw pnm pnmraw pkm pkmraw pam pamcmyk4 pamcmyk32 pcxmono pcxgray pcx16 pcx256 pcx24b pcxcmyk psdrgb psdrgb16 psdcmyk psdcmyk16 psdcmykog xcf xcfcmyk miff24 bit bitrgb bitcmyk' ;;
        "render --antialias" | \
            "submit --antialias") kind='=auto none 2 4' ;;
        "render --box" | \
            "submit --box") kind='=media crop trim bleed art' ;;
        "render --encoder" | \
            "submit --encoder") kind='=auto ghostscript' ;;
        "render --recipe" | \
            "render --fallback" | \
            "submit --recipe" | \
            "submit --fallback") kind='recipes' ;;
        "render --sandbox" | \
            "resume --sandbox" | \
            "submit --sandbox" | \
            "hosts --sandbox" | \
            "serve --sandbox") kind='=none bwrap' ;;
        "render --mail-when" | \
            "resume --mail-when" | \
            "submit --mail-when") kind='=always failure' ;;
        "render --progress" | \
            "resume --progress") kind='=auto tui board plain jsonl none' ;;
        "render --color" | \
            "resume --color") kind='=auto always never' ;;
        "submit --after" | \
            "alter --after") kind='jobs' ;;
        "report --by") kind='=job user host month' ;;
        "status --state") kind='=running paused queued held failed partial cancelled done removed' ;;
        *) kind=none ;;
    esac
}

complete -F _sshrender sshrender
