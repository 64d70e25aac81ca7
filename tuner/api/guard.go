package api

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
)

// Guard lets only those through who may give orders: the holder of the token, or, where there is none, a program of this machine.
type Guard struct {
	TokenFile string // read at each request, so that it can be renewed; empty: requests from this machine only
	Listen    string // the address that is listened on
	Logger    *slog.Logger
}

// Check says why nobody at all could get through.
func (g Guard) Check() error {
	if g.TokenFile == "" && !loopback(g.Listen) {
		return fmt.Errorf("want a loopback address, or a file with a token (got %q)", g.Listen)
	}
	return nil
}

// Handler answers those who may not get through; a page of another site, also where a browser knows the token, is among them.
func (g Guard) Handler(next http.Handler) http.Handler {
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code, err := g.examine(r); err != nil {
			g.Logger.Warn("order refused", "path", r.URL.Path, "from", r.RemoteAddr, "err", err)
			if code == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", "Bearer")
			}
			fail(w, code, err)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

func (g Guard) examine(r *http.Request) (code int, err error) {
	// No page of another site can send this type without asking first, and it is never answered when it asks.
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return http.StatusUnsupportedMediaType, fmt.Errorf("header Content-Type: want application/json (got %q)", r.Header.Get("Content-Type"))
	}
	if g.TokenFile == "" {
		switch {
		case !loopback(g.Listen):
			return http.StatusForbidden, errors.New("orders are taken where the tuner listens on loopback only, or by a token (--api.token-file)")
		case !loopback(r.Host): // a name that leads here, on somebody else's page
			return http.StatusForbidden, fmt.Errorf("header Host: want a loopback address (got %q)", r.Host)
		}
		return 0, nil
	}
	want, err := Token(g.TokenFile)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return http.StatusForbidden, fmt.Errorf("there is no token yet, so nobody may give orders: %w", err)
	case err != nil:
		return http.StatusInternalServerError, err
	}
	got, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found || subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
		return http.StatusUnauthorized, errors.New("header Authorization: want Bearer and the token")
	}
	return 0, nil
}

// shortest token that cannot be found by trying.
const shortest = 16

// Token reads a token's file. No error holds any of it.
func Token(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	t := strings.TrimSpace(string(text))
	if len(t) < shortest {
		return "", fmt.Errorf("read token %s: want at least %d bytes (got %d)", path, shortest, len(t))
	}
	return t, nil
}

// loopback says whether an address with or without a port leads to this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
