package kubetest

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// User is somebody to act as. Without a name it is the administrator; anybody else may do only what the test grants.
type User struct {
	Name   string
	Groups []string
}

func (u User) or(as []User) User {
	if len(as) > 0 {
		return as[0]
	}
	return u
}

// Kubeconfig writes a kubeconfig for a program under test and returns its name.
func (s *Server) Kubeconfig(t testing.TB, as ...User) string {
	t.Helper()
	u := User{}.or(as)
	conf, cluster, auth, current := clientcmdapi.NewConfig(), clientcmdapi.NewCluster(), clientcmdapi.NewAuthInfo(), clientcmdapi.NewContext()
	cluster.Server, cluster.CertificateAuthority = s.URL, s.certificate()
	auth.TokenFile, auth.Impersonate, auth.ImpersonateGroups = s.path("token"), u.Name, u.Groups
	current.Cluster, current.AuthInfo = "kubetest", "kubetest"
	conf.Clusters["kubetest"], conf.AuthInfos["kubetest"], conf.Contexts["kubetest"], conf.CurrentContext = cluster, auth, current, "kubetest"
	file, err := os.CreateTemp(s.dir, "kubeconfig-")
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	if err := clientcmd.WriteToFile(*conf, file.Name()); err != nil {
		t.Fatalf("write kubeconfig: %v", err)
	}
	return file.Name()
}

// Kubectl runs kubectl as the administrator and returns what it printed. A document for "-f -" can be given by KubectlIn.
func (s *Server) Kubectl(t testing.TB, args ...string) string {
	t.Helper()
	return s.KubectlIn(t, "", args...)
}

// KubectlIn is Kubectl with something to read.
func (s *Server) KubectlIn(t testing.TB, in string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.binary, append([]string{"kubectl", "--kubeconfig", s.Kubeconfig(t)}, args...)...)
	cmd.Dir, cmd.Stdin = s.dir, strings.NewReader(in)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir} // its cache of the API's kinds goes with the server
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		t.Fatalf("kubectl %s: %v: %s%s", strings.Join(args, " "), err, problem.String(), out.String())
	}
	return out.String()
}
