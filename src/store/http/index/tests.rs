//! Pages written after the documented output of each server.

use super::*;

fn page(url: &str, kind: &str, text: &str) -> Document {
    Document { url: url.to_owned(), kind: Some(kind.to_owned()), headers: Vec::new(), bytes: text.to_owned().into() }
}

fn listed(url: &str, kind: &str, text: &str) -> Vec<String> {
    let line = |entry: Entry| {
        let size = entry.size.map_or(String::new(), |size| format!(" {size}"));
        let modified = entry.modified.map_or(String::new(), |time| format!(" {time}"));
        format!("{}{}{size}{modified}", entry.name, if entry.folder { "/" } else { "" })
    };
    entries(&page(url, kind, text)).unwrap().into_iter().map(line).collect()
}

/// `mod_autoindex` with `FancyIndexing` and `HTMLTable`: <https://httpd.apache.org/docs/2.4/mod/mod_autoindex.html>.
const APACHE: &str = r#"<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html><head><title>Index of /data/sst</title></head><body><h1>Index of /data/sst</h1>
<table><tr><th valign="top"><img src="/icons/blank.gif" alt="[ICO]"></th><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th><th><a href="?C=S;O=A">Size</a></th></tr>
<tr><td valign="top"><img src="/icons/back.gif" alt="[PARENTDIR]"></td><td><a href="/data/">Parent Directory</a></td><td>&nbsp;</td><td align="right">  - </td></tr>
<tr><td valign="top"><img src="/icons/folder.gif" alt="[DIR]"></td><td><a href="1981/">1981/</a></td><td align="right">2020-05-01 10:11  </td><td align="right">  - </td></tr>
<tr><td valign="top"><img src="/icons/unknown.gif" alt="[   ]"></td><td><a href="a%20b%2bc.nc">a b+c.nc</a></td><td align="right">2020-05-02 23:59  </td><td align="right">1.6M</td></tr>
<tr><td valign="top"><img src="/icons/unknown.gif" alt="[   ]"></td><td><a href="x&amp;y.nc">x&amp;y.nc</a></td><td align="right">2020-05-03 00:00  </td><td align="right"> 17 </td></tr>
</table></body></html>"#;

/// `autoindex on`: <https://nginx.org/en/docs/http/ngx_http_autoindex_module.html>.
const NGINX: &str = "<html>\r\n<head><title>Index of /plain/</title></head>\r\n<body>\r\n<h1>Index of /plain/</h1><hr><pre><a href=\"../\">../</a>\r\n<a href=\"2020/\">2020/</a>                                              21-Nov-2026 12:00                   -\r\n<a href=\"sample.nc\">sample.nc</a>                                         01-Feb-2026 08:30             3000000\r\n</pre><hr></body>\r\n</html>\r\n";

/// IIS directory browsing: <https://learn.microsoft.com/en-us/iis/configuration/system.webserver/directorybrowse>.
const IIS: &str = r#"<html><head><title>h - /data/</title></head><body><H1>h - /data/</H1><hr>
<pre><A HREF="/">[To Parent Directory]</A><br><br>  1/31/2020  5:12 PM        &lt;dir&gt; <A HREF="/data/1981/">1981</A><br> 12/1/2020 12:05 AM       123456 <A HREF="/data/a.nc">a.nc</A><br></pre><hr></body></html>"#;

#[test]
fn apache_nginx_and_iis() {
    let html = "text/html;charset=utf-8";
    assert_eq!(
        listed("https://h/data/sst/", html, APACHE),
        ["1981/ 2020-05-01T10:11:00Z", "a b+c.nc 2020-05-02T23:59:00Z", "x&y.nc 17 2020-05-03T00:00:00Z"]
    );
    assert_eq!(listed("http://h/plain/", html, NGINX), ["2020/ 2026-11-21T12:00:00Z", "sample.nc 3000000 2026-02-01T08:30:00Z"]);
    assert_eq!(listed("http://h/data/", html, IIS), ["1981/ 2020-01-31T17:12:00Z", "a.nc 123456 2020-12-01T00:05:00Z"]);
}

#[test]
fn json_of_nginx_and_caddy() {
    let nginx = r#"[{ "name":"2020", "type":"directory", "mtime":"Sat, 21 Nov 2026 12:00:00 GMT" },
        { "name":"a.nc", "type":"file", "mtime":"Sun, 01 Feb 2026 08:30:00 GMT", "size":3000000 }]"#;
    let expected = ["2020/ 2026-11-21T12:00:00Z", "a.nc 3000000 2026-02-01T08:30:00Z"];
    assert_eq!(listed("http://h/json/", "application/json", nginx), expected);
    let caddy = r#"[{"name":"2020/","size":4096,"url":"./2020/","mod_time":"2026-11-21T12:00:00Z","mode":1,"is_dir":true,"is_symlink":false},
        {"name":"a.nc","size":3000000,"url":"./a.nc","mod_time":"2026-02-01T08:30:00Z","mode":1,"is_dir":false,"is_symlink":false},
        {"name":"../up","size":1},{"name":"..","size":1}]"#;
    assert_eq!(listed("http://h/json/", "text/plain", caddy), expected);
    assert!(entries(&page("http://h/", "application/json", "{\"error\": 1}")).is_err());
}

#[test]
fn only_direct_children_of_the_same_server_are_listed() {
    let text = r##"<title>Index of /a/b</title><a href="c.nc">c</a><a href='./d.nc'>d</a><a class=x href=e.nc>e</a><a href="/a/b/f.nc">f</a>
        <a href="http://h/a/b/g.nc">g</a><a href="https://other/a/b/x.nc">x</a><a href="/a/x.nc">x</a><a href="deep/x.nc">x</a><a href="?C=N">n</a>
        <a href="x.nc?download=1">x</a><a href="#top">t</a><a href="mailto:me@h">m</a><a href="javascript:x()">j</a><a href="%2e%2e/x.nc">x</a>
        <a href="..%2Fx.nc">x</a><a href="file:///etc/passwd">p</a><!-- <a href="commented.nc">c</a> --><a data-href="y.nc">y</a><a href="c.nc">again</a><a href="##;
    assert_eq!(listed("http://h/a/b/", "text/html", text), ["c.nc", "d.nc", "e.nc", "f.nc", "g.nc"]);
}

#[test]
fn a_page_that_is_no_index_is_refused() {
    for text in ["<html><body>Please <a href=\"/login\">log in</a></body></html>", "", "not a page", "<a", "<a href", "<!--", "<"] {
        let error = entries(&page("http://h/a/b/", "text/html", text)).unwrap_err();
        assert!(error.contains("no index"), "{error}");
    }
    assert_eq!(listed("http://h/a/b/", "text/html", "<a href=x.nc>x</a> 01-Feb-2026 08:30 17"), ["x.nc 17 2026-02-01T08:30:00Z"]);
    assert!(listed("http://h/a/b/", "text/html", "<h1>Index of /a/b</h1>").is_empty());
    assert!(listed("http://h/a/b/", "text/html", "<a href=\"../\">up</a>").is_empty());
    let thredds = entries(&page("http://h/thredds/catalog/x/", "text/html", "<a href='catalog.html?dataset=x/a.nc'>a.nc</a>")).unwrap_err();
    assert!(thredds.contains("catalog.xml"), "{thredds}");
}

proptest::proptest! {
    /// Whatever a server sends: names are single parts of paths, and nothing panics.
    #[test]
    fn no_page_makes_names_that_climb(text in "(<a href=['\"]?[a-z./%2?#&;:]{0,9}['\"]?>|</a>|[ -~é]|<!--|-->|<|\n|[0-9]{1,4}-(Jan|13)-[0-9]{1,4} [0-9]{1,2}:[0-9]{1,2}){0,40}") {
        let listed = entries(&page("http://h/a/b/", "text/html", &text)).unwrap_or_default();
        proptest::prop_assert!(listed.iter().all(|entry| is_name(&entry.name)), "{:?}", listed);
    }
}
