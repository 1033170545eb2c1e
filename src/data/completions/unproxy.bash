# SPDX-License-Identifier: MIT
# bash completion of unproxy(8)                                  -*- shell-script -*-

_unproxy()
{
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local commands="run check routes health send parse demo help"
	local words="" files=false

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "$commands -c --help --version" -- "$current")
		return
	fi
	case $previous in
	-c)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	--listen | --upstream | --trust | --timeout-ms | --src | --dst | --alpn | --authority | --unique-id | --vpce | --tlv)
		return
		;;
	esac
	case ${COMP_WORDS[1]} in
	run | -c) words="-c --listen --upstream --trust --transparent --help" ;;
	check) words="-c --listen --upstream --trust --transparent --no-probe --help" ;;
	routes)
		words="-c --dry-run --help"
		[[ " ${COMP_WORDS[*]:2} " == *\ @(up|down|status)\ * ]] || words+=" up down status"
		;;
	health) words="-c --ready --timeout-ms --help" ;;
	send)
		words="--v1 --v2 --src --dst --local --unknown --alpn --authority --unique-id --vpce --tlv --crc32c --help"
		;;
	parse) words="--hex --help" files=true ;;
	demo) words="--listen --once --help" ;;
	help) words=$commands ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
	if $files && [[ $current != -* ]]; then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
	fi
} && complete -F _unproxy unproxy
