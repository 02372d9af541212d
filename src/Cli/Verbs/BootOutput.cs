using System.Globalization;
using System.Text;
using KTrace.Boot;

namespace KTrace.Cli.Verbs;

/// <summary>How the verbs that prepare boots speak: results to standard output, progress and errors to standard error, and
/// nothing that a guest's
/// file or a package wrote reaches the terminal as a control sequence.</summary>
internal sealed class BootOutput : IBootProgress
{
    private const int BarWidth = 24;
    private readonly bool isTerminal = !Console.IsErrorRedirected;
    private readonly Lock gate = new();
    private string lastMessage = "";
    private long lastDrawn;
    private bool lineIsOpen;

    /// <summary>Runs a verb: exit code 2 and one or two lines for what went wrong, 130 for Ctrl-C.</summary>
    public static async Task<int> RunAsync(Func<BootOutput, Task<int>> verb)
    {
        var output = new BootOutput();
        try
        {
            return await verb(output).ConfigureAwait(false);
        }
        catch (BootException e)
        {
            output.EndLine();
            Console.Error.WriteLine("ktrace: " + Clean(e.Message));
            if (e.Remedy is not null)
            {
                Console.Error.WriteLine("  " + Clean(e.Remedy));
            }

            return 2;
        }
        catch (OperationCanceledException)
        {
            output.EndLine();
            Console.Error.WriteLine("ktrace: interrupted");
            return 130;
        }
        finally
        {
            output.EndLine();
        }
    }

    /// <summary>Text without control characters: they show as \xNN.</summary>
    public static string Clean(string text)
    {
        if (!text.Any(IsUnsafe))
        {
            return text;
        }

        var clean = new StringBuilder(text.Length + 16);
        foreach (var character in text)
        {
            _ = IsUnsafe(character) ? clean.Append(CultureInfo.InvariantCulture, $"\\x{(int)character:x2}")
                : clean.Append(character);
        }

        return clean.ToString();

        static bool IsUnsafe(char character) => char.IsControl(character)
            || CharUnicodeInfo.GetUnicodeCategory(character) is UnicodeCategory.Format or UnicodeCategory.Surrogate;
    }

    public static string Size(long bytes) => bytes switch
    {
        >= 1L << 30 => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << 30):0.0} GiB"),
        >= 1 << 20 => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1 << 20):0.0} MiB"),
        >= 1 << 10 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1024.0:0.0} KiB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes} bytes"),
    };

    public void Report(BootProgress progress)
    {
        lock (gate)
        {
            var message = $"{progress.Phase}: {Clean(progress.Message)}";
            if (!isTerminal)
            {
                if (message != lastMessage)
                {
                    Console.Error.WriteLine(message);
                }

                lastMessage = message;
                return;
            }

            var now = Environment.TickCount64;
            if (message == lastMessage && now - lastDrawn < 100)
            {
                return;
            }

            lastMessage = message;
            lastDrawn = now;
            Console.Error.Write("\r\x1b[K" + Fit(Line(message, progress)));
            lineIsOpen = true;
        }
    }

    /// <summary>Takes the progress line away.</summary>
    public void EndLine()
    {
        lock (gate)
        {
            if (lineIsOpen)
            {
                Console.Error.Write("\r\x1b[K");
                lineIsOpen = false;
            }
        }
    }

    private static string Line(string message, BootProgress progress)
    {
        if (progress.Total is not (> 0 and { } total))
        {
            return progress.Done > 0 ? $"{message}  {Size(progress.Done)}" : message;
        }

        var share = Math.Clamp((double)progress.Done / total, 0, 1);
        var full = (int)(share * BarWidth);
        return string.Create(
            CultureInfo.InvariantCulture,
                $"[{new string('#', full)}{new string('.', BarWidth - full)}] {share * 100,3:0} %  {Size(progress.Done)} of {Size(total)}  {message}");
    }

    private static string Fit(string line)
    {
        var width = 79;
        try
        {
            width = Math.Max(20, Console.WindowWidth - 1);
        }
        catch (IOException)
        {
            // No window: the usual width.
        }

        return line.Length <= width ? line : line[..(width - 1)] + "…";
    }
}
