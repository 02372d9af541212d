using KTrace.Boot;
using KTrace.Tracing;

namespace KTrace.Cli.Sessions;

/// <summary>Whether a trace can be written where somebody wants it. Asked before anything boots; nothing is changed by asking.</summary>
internal static class TraceOutput
{
    /// <summary>
    /// An older trace may be replaced, as with any recorder; another file (a vmlinux, a scenario, where -o took the wrong word) may not.
    /// </summary>
    /// <exception cref="BootException">It cannot or must not be written.</exception>
    public static void Check(string path)
    {
        if (path.Length == 0)
        {
            throw new BootException("the trace needs a name", "-o FILE.ktrace");
        }

        if (Directory.Exists(path))
        {
            throw new BootException($"{path} is a folder, and the trace is a file", $"-o {Path.Combine(path, "run.ktrace")}");
        }

        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (!Directory.Exists(folder))
        {
            throw new BootException($"{path}: there is no folder {folder} to write the trace in", $"mkdir -p {folder}");
        }

        try
        {
            var isNew = !File.Exists(path);
            if (isNew)
            {
                // Only making it tells whether it can be made (a full or read-only file system, a folder of somebody else).
                new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.ReadWrite, 0, FileOptions.DeleteOnClose).Dispose();
            }
            else if (new FileInfo(path).Length > 0)
            {
                if (!TraceReader.BeginsLikeATrace(path))
                {
                    throw new BootException($"{path} exists and is no trace: it is not overwritten", "give the trace another name with -o, or remove the file");
                }

                new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete, 0).Dispose();
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BootException($"{path}: the trace cannot be written: {e.Message.TrimEnd('.')}", "give another place with -o", inner: e);
        }
    }

    /// <summary>Both names lead to one file.</summary>
    public static bool IsSame(string a, string b) => Real(a) == Real(b);

    private static string Real(string path) => (File.Exists(path) ? File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName : null) ?? Path.GetFullPath(path);
}
