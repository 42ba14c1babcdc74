// The docker compose command, version 2, as a stand-alone program.
package main

import (
	"os"

	"github.com/docker/cli/cli-plugins/metadata"
	"github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"
	"github.com/docker/compose/v2/cmd/compatibility"
	"github.com/docker/compose/v2/cmd/prompt"
	commands "github.com/docker/compose/v2/cmd/compose"
	"github.com/docker/compose/v2/pkg/compose"
	"github.com/spf13/cobra"
)

func main() {
	if plugin.RunningStandalone() {
		os.Args = append([]string{"docker"}, compatibility.Convert(os.Args[1:])...)
	}
	plugin.Run(
		func(cli command.Cli) *cobra.Command {
			return commands.RootCommand(cli, compose.NewComposeService(cli,
				compose.WithPrompt(prompt.NewPrompt(cli.In(), cli.Out()).Confirm)))
		},
		metadata.Metadata{SchemaVersion: "0.1.0", Vendor: "Docker Inc."},
	)
}
