// $XDG_STATE_HOME (XDG Base Directory Specification 0.8: "the current state of the application that can be reused on a restart"; default ~/.local/state).
// One small JSON file for each scenario, trace or socket. It is written whole under another name and moved into place, so that of two sessions the last one wins and none is torn.
// Whatever stands in it may be anything: what is not as it should be is left out, and a file that is no JSON means that nothing is remembered.
using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using KTrace.Tui.State;

namespace KTrace.Tui.Persistence;

/// <summary>What is kept of one scenario between sessions, as a file that only its owner can read.</summary>
public sealed class RememberedFile
{
    private const int MaximumBytes = 1 << 20;
    private const int MaximumText = 4096;
    private const int MaximumItems = 512;
    private const int MaximumHistory = 1000;
    private const int MaximumLayout = 99;
    private const int MaximumName = 40;

    /// <param name="identity">Of the target: the same scenario has the same.</param>
    /// <param name="folder">Where files are kept; null: where the environment says.</param>
    public RememberedFile(string identity, string? folder = null) => Path = System.IO.Path.Combine(folder ?? DefaultFolder(), NameOf(identity));

    public string Path { get; }

    /// <summary>Reads it. Never fails: what cannot be read is not remembered.</summary>
    /// <param name="note">Says so, for a person; null: all is well, or there is nothing yet.</param>
    public Remembered Load(out string? note)
    {
        note = null;
        try
        {
            if (!File.Exists(Path))
            {
                return Remembered.Nothing;
            }

            if (new FileInfo(Path).Length > MaximumBytes)
            {
                note = $"{Path} is too long for what KTrace keeps: nothing is taken from it";
                return Remembered.Nothing;
            }

            using var document = JsonDocument.Parse(File.ReadAllBytes(Path), new JsonDocumentOptions { MaxDepth = 8 });
            return document.RootElement.ValueKind == JsonValueKind.Object ? Read(document.RootElement) : throw new JsonException("no object");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            note = $"{Path} is damaged: nothing is taken from it";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            note = $"what was kept of earlier sessions cannot be read: {e.Message.TrimEnd('.')}";
        }

        return Remembered.Nothing;
    }

    /// <summary>Writes it. Never fails: a read-only home is no reason to lose a session.</summary>
    /// <returns>Why it could not be written, for a person; null: it is there.</returns>
    public string? Save(Remembered remembered)
    {
        var part = $"{Path}.{Environment.ProcessId}.{Guid.NewGuid():n}";
        try
        {
            Directory.CreateDirectory(System.IO.Path.GetDirectoryName(Path)!, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            try
            {
                using (var file = new FileStream(part, new FileStreamOptions
                {
                    Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
                }))
                {
                    Write(file, remembered);
                }

                File.Move(part, Path, overwrite: true);
                return null;
            }
            catch
            {
                File.Delete(part);
                throw;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return $"breakpoints and layout are not kept: {e.Message.TrimEnd('.')}";
        }
    }

    private static string DefaultFolder()
    {
        // The specification: a path that is not absolute is to be ignored.
        var state = Environment.GetEnvironmentVariable("XDG_STATE_HOME");
        return System.IO.Path.Combine(
            System.IO.Path.IsPathRooted(state) ? state! : System.IO.Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".local", "state"), "ktrace", "sessions");
    }

    /// <summary>Readable, and different for every identity.</summary>
    private static string NameOf(string identity)
    {
        var readable = new string([.. identity.Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.' ? c : '_')]).TrimStart('.');
        return $"{readable[Math.Max(0, readable.Length - MaximumName)..]}-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(identity)).AsSpan(0, 4))}.json";
    }

    private static void Write(Stream stream, Remembered remembered)
    {
        using var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true });
        json.WriteStartObject();
        WriteTexts(json, "breakpoints", remembered.Breakpoints.Take(MaximumItems));
        WriteTexts(json, "disabled", remembered.Disabled.Take(MaximumItems));
        WriteTexts(json, "watches", remembered.Watches.Take(MaximumItems));
        json.WriteNumber("layout", remembered.Layout);
        json.WriteStartObject("splits");
        foreach (var (name, at) in remembered.Splits.Where(s => double.IsFinite(s.Value)).OrderBy(s => s.Key, StringComparer.Ordinal).Take(MaximumItems))
        {
            json.WriteNumber(name, at);
        }

        json.WriteEndObject();
        WriteTexts(json, "history", remembered.History.TakeLast(MaximumHistory));
        json.WriteEndObject();
    }

    private static void WriteTexts(Utf8JsonWriter json, string name, IEnumerable<string> texts)
    {
        json.WriteStartArray(name);
        foreach (var text in texts.Where(t => t.Length <= MaximumText))
        {
            json.WriteStringValue(text);
        }

        json.WriteEndArray();
    }

    private static Remembered Read(JsonElement root)
    {
        var splits = ImmutableDictionary.CreateBuilder<string, double>();
        if (root.TryGetProperty("splits", out var named) && named.ValueKind == JsonValueKind.Object)
        {
            foreach (var split in named.EnumerateObject().Take(MaximumItems))
            {
                if (split.Name.Length <= MaximumText && split.Value.ValueKind == JsonValueKind.Number && split.Value.TryGetDouble(out var at) && at is > 0 and < 1)
                {
                    splits[split.Name] = at;
                }
            }
        }

        var layout = root.TryGetProperty("layout", out var number) && number.ValueKind == JsonValueKind.Number && number.TryGetInt32(out var key) && key is > 0 and <= MaximumLayout
            ? key : Remembered.Nothing.Layout;
        return new Remembered(Texts(root, "breakpoints", MaximumItems), Texts(root, "watches", MaximumItems), layout, splits.ToImmutable(), Texts(root, "history", MaximumHistory))
        {
            // Files of earlier versions have none.
            Disabled = Texts(root, "disabled", MaximumItems),
        };
    }

    private static ImmutableArray<string> Texts(JsonElement root, string name, int limit) =>
        root.TryGetProperty(name, out var list) && list.ValueKind == JsonValueKind.Array
            ? [.. list.EnumerateArray().Where(i => i.ValueKind == JsonValueKind.String).Select(i => i.GetString()!).Where(t => t.Length is > 0 and <= MaximumText).TakeLast(limit)]
            : [];
}
