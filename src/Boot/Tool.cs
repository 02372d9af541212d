using System.Diagnostics;
using System.Text;

namespace KTrace.Boot;

/// <summary>What a finished program left behind.</summary>
/// <param name="ExitCode">As the shell counts: 128 + signal for a program that was killed.</param>
/// <param name="Errors">The last 64 KiB of standard error, decoded.</param>
internal sealed record ToolResult(int ExitCode, string Output, string Errors);

/// <summary>Runs a program of the system to its end. Nothing goes through a shell's parsing.</summary>
internal static class Tool
{
    private const int OutputLimit = 32 << 20;
    private const int ErrorLimit = 64 << 10;

    /// <summary>The program's path as PATH finds it, or null.</summary>
    public static string? Find(string program)
    {
        if (program.Contains('/'))
        {
            return IsExecutable(program) ? program : null;
        }

        // Without a PATH, and for users whose PATH leaves out the administration folders, look where packages put things.
        var folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries)
            .Concat(["/usr/bin", "/bin", "/usr/sbin", "/sbin"]);
        return folders.Select(folder => Path.Combine(folder, program)).FirstOrDefault(IsExecutable);
    }

    /// <summary>Starts the program with its output redirected, messages in English, and standard input a pipe.</summary>
    /// <exception cref="BootException">There is no such program.</exception>
    public static Process Start(string program, IEnumerable<string> arguments, string? directory = null,
        IReadOnlyDictionary<string, string>? environment = null)
    {
        var path = Find(program) ?? throw new BootException($"the program {program} is not installed",
            Programs.RemedyFor(program));
        var start = new ProcessStartInfo(path)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
            WorkingDirectory = directory ?? "",
        };
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["LC_ALL"] = "C";
        foreach (var (name, value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[name] = value;
        }

        try
        {
            return Process.Start(start) ?? throw new BootException($"{program} could not be started");
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new BootException($"{program} could not be started: {e.Message}", inner: e);
        }
    }

    /// <summary>Runs the program to its end; cancelling kills it.</summary>
    /// <param name="diesWithParent">End the program when ktrace is killed, and keep the terminal's Ctrl-C from it.</param>
    public static async Task<ToolResult> RunAsync(
        string program, IEnumerable<string> arguments, string? directory = null, bool diesWithParent = false,
        IReadOnlyDictionary<string, string>? environment = null, CancellationToken cancellationToken = default)
    {
        if (diesWithParent)
        {
            var path = Find(program) ?? throw new BootException($"the program {program} is not installed",
                Programs.RemedyFor(program));
            arguments = ParentWatch.Arguments(null, path, arguments);
            program = ParentWatch.Program;
        }

        using var process = Start(program, arguments, directory, environment);
        if (!diesWithParent)
        {
            process.StandardInput.Close();
        }

        using var cancel = cancellationToken.Register(() => End(process, diesWithParent));
        var output = ReadAsync(process.StandardOutput.BaseStream, OutputLimit, keepEnd: false);
        var errors = ReadAsync(process.StandardError.BaseStream, ErrorLimit, keepEnd: true);
        await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
        var result = new ToolResult(process.ExitCode, await output.ConfigureAwait(false), await errors.ConfigureAwait(false));
        cancellationToken.ThrowIfCancellationRequested();
        return result;
    }

    /// <summary>Ends a program that was started by <see cref="Start"/>.</summary>
    public static void End(Process process, bool watched = false)
    {
        try
        {
            if (watched)
            {
                process.StandardInput.Close();
            }
            else
            {
                process.Kill();
            }
        }
        catch (Exception e) when (e is InvalidOperationException or IOException or System.ComponentModel.Win32Exception)
        {
            // It has ended by itself.
        }
    }

    /// <summary>Reads a stream to its end, keeping at most <paramref name="limit"/> bytes of its beginning or end.</summary>
    public static async Task<string> ReadAsync(Stream stream, int limit, bool keepEnd)
    {
        var kept = new MemoryStream();
        var buffer = new byte[16 << 10];
        try
        {
            int read;
            while ((read = await stream.ReadAsync(buffer).ConfigureAwait(false)) > 0)
            {
                if (keepEnd && kept.Length + read > limit)
                {
                    var tail = kept.ToArray().AsSpan();
                    tail = tail[Math.Min(tail.Length, Math.Max(0, tail.Length - (limit / 2)))..];
                    kept = new MemoryStream();
                    kept.Write(tail);
                }

                kept.Write(buffer.AsSpan(0, (int)Math.Max(0, Math.Min(read, limit - kept.Length))));
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // The program is gone; what it said so far is what there is.
        }

        return Encoding.UTF8.GetString(kept.GetBuffer().AsSpan(0, (int)kept.Length));
    }

    private static bool IsExecutable(string path)
    {
        try
        {
            return File.Exists(path)
                && (File.GetUnixFileMode(path) & (
                    UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute)) != 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
