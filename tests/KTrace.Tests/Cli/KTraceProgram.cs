using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using KTrace.Tests.Support;

namespace KTrace.Tests.Cli;

/// <summary>What a run of the program left behind.</summary>
internal sealed record KTraceRun(int ExitCode, string Output, string Errors);

/// <summary>The real program, as a process of its own, in a folder of its own and with a cache in which only the tests' stock kernel is.</summary>
internal sealed class KTraceProgram : IDisposable
{
    public const int Interrupt = 2, Kill = 9, Terminate = 15, Continue = 18, Stop = 19;

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);

    private readonly ScratchFolder _folder = new();

    public KTraceProgram()
    {
        var kernels = Directory.CreateDirectory(Path.Combine(_folder.Path, "cache", "ktrace", "kernels")).FullName;
        Directory.CreateSymbolicLink(Path.Combine(kernels, StockKernel.Release), StockKernel.Root);
        File.WriteAllText(Path.Combine(kernels, "stock"), StockKernel.Release + "\n");
    }

    /// <summary>The program's working folder.</summary>
    public string Folder => _folder.Path;

    public Dictionary<string, string?> Environment { get; } = [];

    public string PathOf(string name) => _folder.File(name);

    public string Write(string name, string text)
    {
        File.WriteAllText(_folder.File(name), text);
        return _folder.File(name);
    }

    public KTraceRun Run(params string[] arguments)
    {
        using var process = Start(arguments);
        return Finish(process);
    }

    public Process Start(params string[] arguments) => StartProgram("dotnet", [Path.Combine(AppContext.BaseDirectory, "ktrace.dll"), .. arguments]);

    /// <summary>The program of docs/engine.md, with the same cache.</summary>
    public Process StartExample(params string[] arguments) => StartProgram("dotnet", [Path.Combine(AppContext.BaseDirectory, "KTrace.Example.dll"), .. arguments]);

    /// <summary>With lines on its standard input.</summary>
    public KTraceRun RunWith(string input, params string[] arguments)
    {
        using var process = Start(arguments);
        process.StandardInput.Write(input);
        return Finish(process);
    }

    /// <summary>On a terminal of the given size, as script(1) makes one. The output is what the terminal would have got, byte by byte.</summary>
    public Process StartOnTerminal(int columns, string shell, string term = "xterm-256color")
    {
        Environment["TERM"] = term;
        return StartProgram("script", ["-qefc", $"stty cols {columns} rows 24; {shell}", "/dev/null"]);
    }

    /// <summary>The program's name for a shell.</summary>
    public static string InShell => "dotnet " + Path.Combine(AppContext.BaseDirectory, "ktrace.dll");

    public static KTraceRun Finish(Process process)
    {
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync();
        var errors = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(Limit))
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"ktrace did not end; it said: {errors.Result}");
        }

        process.WaitForExit();
        return new KTraceRun(process.ExitCode, output.Result, errors.Result);
    }

    public static void Signal(Process process, int signal) => Assert.Equal(0, SendSignal(process.Id, signal));

    /// <summary>Waits for a condition that the program brings about; how long is not the test's matter, only that it comes.</summary>
    public static void WaitFor(string what, Func<bool> condition)
    {
        var since = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(since.Elapsed < Limit, "never came: " + what);
            Thread.Sleep(20);
        }
    }

    /// <summary>Process ids whose command line has this text.</summary>
    public static IReadOnlyList<int> Processes(string argument)
    {
        var found = new List<int>();
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            try
            {
                if (int.TryParse(Path.GetFileName(folder), out var id)
                    && File.ReadAllText(folder + "/cmdline").Split('\0') is [var program, ..] words && words.Contains(argument)
                    && program.Contains("qemu", StringComparison.Ordinal))
                {
                    found.Add(id);
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It ended meanwhile.
            }
        }

        return found;
    }

    /// <summary>The private directory of the QEMU with this argument.</summary>
    public static string? PrivateDirectory(string argument) => Processes(argument).Select(id =>
    {
        try
        {
            return File.ReadAllText($"/proc/{id}/cmdline").Split('\0').Where(w => w.StartsWith("unix:", StringComparison.Ordinal))
                .Select(w => Path.GetDirectoryName(w["unix:".Length..].Split(',')[0])).FirstOrDefault();
        }
        catch (IOException)
        {
            return null;
        }
    }).FirstOrDefault(directory => directory is not null);

    public void Dispose() => _folder.Dispose();

    private Process StartProgram(string program, IEnumerable<string> arguments)
    {
        // A shell that runs the tests in the background has them ignore Ctrl-C, and what they start inherits that: here it counts.
        var start = new ProcessStartInfo("env", ["--default-signal=INT", program, .. arguments])
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = Folder,
            StandardOutputEncoding = Encoding.UTF8, StandardErrorEncoding = Encoding.UTF8,
        };
        start.Environment["XDG_CACHE_HOME"] = Path.Combine(Folder, "cache");
        start.Environment.Remove("NO_COLOR");
        foreach (var (name, value) in Environment)
        {
            start.Environment[name] = value;
        }

        return Process.Start(start)!;
    }

    [DllImport("libc", EntryPoint = "kill")]
    private static extern int SendSignal(int process, int signal);
}
