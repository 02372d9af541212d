using System.Diagnostics;
using System.Globalization;

namespace KTrace.Tests.Symbols.CallFrame;

/// <summary>binutils' interpretation of .debug_frame: readelf --debug-dump=frames-interp.</summary>
internal static class ReadelfFrames
{
    public sealed record Row(ulong Address, string Cfa, Dictionary<string, string> Registers);

    public sealed record Fde(ulong Start, ulong End, List<Row> Rows);

    public static List<Fde> Read(string path)
    {
        var start = new ProcessStartInfo("readelf", ["--debug-dump=frames-interp", path]) { RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        process.ErrorDataReceived += (_, _) => { };
        process.BeginErrorReadLine();
        var fdes = new List<Fde>();
        string[] columns = [];
        List<Row>? rows = null;
        Row? initial = null;
        while (process.StandardOutput.ReadLine() is { } line)
        {
            var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length > 3 && words[3] == "CIE")
            {
                rows = [];
                initial = null;
            }
            else if (words.Length > 5 && words[3] == "FDE")
            {
                var range = words[^1]["pc=".Length..].Split("..");
                rows = [];
                fdes.Add(new Fde(Hex(range[0]), Hex(range[1]), rows));
            }
            else if (words is ["LOC", "CFA", ..])
            {
                columns = words[2..];
            }
            else if (rows is not null && words.Length == columns.Length + 2 && ulong.TryParse(words[0], NumberStyles.HexNumber, null, out var address))
            {
                var row = new Row(address, words[1], columns.Zip(words[2..]).ToDictionary(p => p.First, p => p.Second));
                initial ??= row;
                rows.Add(row);
            }
            else if (words.Length == 0)
            {
                columns = [];
            }
        }

        process.WaitForExit();
        return fdes;
    }

    private static ulong Hex(string text) => ulong.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
}
