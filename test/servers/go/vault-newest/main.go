// Command vault-newest is HashiCorp Vault's own command, built with its tag
// minimal, which takes a third of the time of the whole one. What that tag leaves
// out and the tests need, file storage and the Kubernetes auth method, is given
// back to the server here.
package main

import (
	"os"

	"github.com/hashicorp/cli"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/audit"
	"github.com/hashicorp/vault/builtin/plugin"
	"github.com/hashicorp/vault/command"
	"github.com/hashicorp/vault/physical/raft"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/sdk/physical/inmem"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] != "server" {
		os.Exit(command.Run(os.Args[1:]))
	}
	server := &command.ServerCommand{
		BaseCommand: &command.BaseCommand{
			UI: &command.VaultUI{Ui: &cli.BasicUi{Writer: os.Stdout, ErrorWriter: os.Stderr}},
		},
		AuditBackends: map[string]audit.Factory{"file": audit.NewFileBackend},
		CredentialBackends: map[string]logical.Factory{
			"plugin":     plugin.Factory, // the other auth methods, from Vault's own registry
			"kubernetes": kubernetes.Factory,
		},
		LogicalBackends: map[string]logical.Factory{
			"plugin": plugin.Factory,
			"kv":     kv.Factory, // a dev server mounts it before the registry is there
		},
		PhysicalBackends: map[string]physical.Factory{
			"file":                   file.NewFileBackend,
			"inmem":                  inmem.NewInmem,
			"inmem_ha":               inmem.NewInmemHA,
			"inmem_transactional":    inmem.NewTransactionalInmem,
			"inmem_transactional_ha": inmem.NewTransactionalInmemHA,
			"raft":                   raft.NewRaftBackend,
		},
		ShutdownCh: command.MakeShutdownCh(),
		SighupCh:   command.MakeSighupCh(),
		SigUSR2Ch:  command.MakeSigUSR2Ch(),
	}
	os.Exit(server.Run(os.Args[2:]))
}
