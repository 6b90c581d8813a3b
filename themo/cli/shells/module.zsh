
# `python -m themo`: other command lines of python go to the completion that python had
typeset -g _themo_python_before="${_comps[python]:-_default}"
[[ "$_themo_python_before" == _themo_as_module ]] && _themo_python_before=_default
_themo_as_module() {
    if [[ "${words[2]-}" != -m || "${words[3]-}" != themo || $CURRENT -lt 4 ]]; then
        "$_themo_python_before" "$@"
        return
    fi
    local IFS=$'\013'
    local completions
    completions=($(IFS="$IFS" \
        COMP_LINE="$BUFFER" \
        COMP_POINT="$CURSOR" \
        _ARGCOMPLETE=3 \
        _ARGCOMPLETE_SHELL="zsh" \
        _ARGCOMPLETE_SUPPRESS_SPACE=1 \
        __python_argcomplete_run "${words[1]}" -m themo))
    _describe themo completions
}
compdef _themo_as_module python python3
