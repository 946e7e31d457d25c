# Completion for fish; installed as share/fish/vendor_completions.d/sshrender.fish.
function __sshrender_complete
    env COMP_WORDS=(commandline -cp | string collect) COMP_CWORD=(count (commandline -opc)) \
        _SSHRENDER_COMPLETE=complete_bash sshrender 2>/dev/null
end
complete --command sshrender --arguments '(__sshrender_complete)'
