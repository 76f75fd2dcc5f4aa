// Command k3s-config reads the configuration of k3s by its own parser, and prints what `k3s server`
// finds in it. Called as rke2, which uses the same parser, it reads that of RKE2.
package main

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/k3s-io/k3s/pkg/cli/cmds"
	"github.com/k3s-io/k3s/pkg/configfilearg"
	"github.com/urfave/cli/v2"
)

type found struct {
	Arguments []string `json:"arguments"`
	Mounts    []string `json:"mounts"`
}

func main() {
	program := filepath.Base(os.Args[0])
	var mounts cli.StringSlice
	server := cmds.NewServerCommand(func(*cli.Context) error {
		return json.NewEncoder(os.Stdout).Encode(found{
			Arguments: cmds.ServerConfig.ExtraAPIArgs.Value(),
			Mounts:    mounts.Value(),
		})
	})
	if program == "rke2" {
		// As in its pkg/cli/cmds/root.go.
		server.Flags = append(server.Flags, &cli.StringSliceFlag{
			Name:        "kube-apiserver-extra-mount",
			Destination: &mounts,
		})
	}
	configfilearg.DefaultParser.DefaultConfig = "/etc/rancher/" + program + "/config.yaml"
	configfilearg.DefaultParser.ValidFlags[server.Name] = server.Flags
	app := cmds.NewApp()
	app.Commands = []*cli.Command{server}
	if err := app.Run(configfilearg.MustParse(os.Args)); err != nil {
		panic(err)
	}
}
