
# `python -m themo`; fish keeps its own completions of python for other command lines
function __fish_is_themo_module
    set -l words (commandline -opc)
    test (count $words) -ge 3; and test "$words[2]" = -m; and test "$words[3]" = themo
end
function __fish_themo_module_complete
    set -l words (commandline -opc)
    set -lx _ARGCOMPLETE 3
    set -lx _ARGCOMPLETE_DFS \t
    set -lx _ARGCOMPLETE_IFS \n
    set -lx _ARGCOMPLETE_SUPPRESS_SPACE 1
    set -lx _ARGCOMPLETE_SHELL fish
    set -lx COMP_LINE (commandline -p)
    set -lx COMP_POINT (string length (commandline -cp))
    set -lx COMP_TYPE
    $words[1] -m themo 8>&1 9>&2 1>/dev/null 2>&1
end
for name in python python3
    complete --command $name --condition __fish_is_themo_module -f -a '(__fish_themo_module_complete)'
end
