# Completion for bash; installed as share/bash-completion/completions/sshrender.
_sshrender() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _SSHRENDER_COMPLETE=complete_bash \
        "$1" 2>/dev/null)
}
complete -o default -F _sshrender sshrender
