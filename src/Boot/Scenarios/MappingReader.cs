using System.Collections.Immutable;
using System.Globalization;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace KTrace.Boot.Scenarios;

/// <summary>Takes the keys of one mapping by name and type; what is left at the end is an error that names the line and the
/// nearest key.</summary>
internal sealed class MappingReader
{
    private readonly string file;
    private readonly string where;
    private readonly YamlMappingNode node;
    private readonly Dictionary<string, YamlNode> left = [];
    private readonly Dictionary<string, int> lines = [];
    private readonly List<string> known = [];

    public MappingReader(YamlMappingNode node, string file, string where)
    {
        this.file = file;
        this.where = where;
        this.node = node;
        foreach (var (key, value) in node.Children)
        {
            if (key is not YamlScalarNode { Value: { } name })
            {
                throw Error(key, "a key that is not a word");
            }

            left[name] = value;
            lines[name] = (int)key.Start.Line;
        }
    }

    public YamlNode? Take(string key)
    {
        known.Add(key);
        return left.Remove(key, out var value) && !IsNull(value) ? value : null;
    }

    public string? Text(string key) => Take(key) is { } value ? Scalar(value, key) : null;

    public bool? Flag(string key) => Text(key) switch
    {
        null => null,
        "true" or "yes" => true,
        "false" or "no" => false,
        var other => throw Error(key, $"{key} is yes or no, not \"{other}\""),
    };

    public int? Number(string key, int minimum, int maximum) => Text(key) is not { } text
        ? null
        : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value >= minimum
            && value <= maximum
            ? value
            : throw Error(key, $"{key} is a number from {minimum} to {maximum}, not \"{text}\"");

    /// <summary>A list of texts; a single text counts as a list of one.</summary>
    public ImmutableArray<string> Texts(string key) => Take(key) switch
    {
        null => [],
        YamlSequenceNode sequence => [.. sequence.Children.Select(item => Scalar(item, key))],
        var single => [Scalar(single, key)],
    };

    /// <summary>A list of mappings; a single text item stands for a mapping with only <paramref name="textKey"/>.</summary>
    public ImmutableArray<T> Items<T>(string key, string textKey, Func<MappingReader, T> read) => Take(key) switch
    {
        null => [],
        YamlSequenceNode sequence => [.. sequence.Children.Select(item => Item(item, key, textKey, read))],
        var single => [Item(single, key, textKey, read)],
    };

    public MappingReader Nested(YamlMappingNode child, string key) => new(child, file, where.Length == 0 ? key
        : $"{where}.{key}");

    public void Finish()
    {
        if (left.Count > 0)
        {
            var unknown = left.Keys.OrderBy(key => lines[key]).First();
            var near = NearNames.Nearest(unknown, known);
            var place = where.Length == 0 ? "a scenario" : where;
            throw new BootException(
                $"{file}: line {lines[unknown]}: {place} has no key \"{unknown}\"", near is null
                    ? "keys: " + string.Join(", ", known) : $"did you mean {near}?");
        }
    }

    public BootException Error(string key, string what) =>
        new($"{file}: line {(lines.TryGetValue(key, out var line) ? line : (int)node.Start.Line)}: {what}");

    public BootException Error(YamlNode at, string what) => new($"{file}: line {at.Start.Line}: {what}");

    private T Item<T>(YamlNode item, string key, string textKey, Func<MappingReader, T> read)
    {
        var mapping = item switch
        {
            YamlMappingNode direct => direct,
            YamlScalarNode scalar => new YamlMappingNode(new YamlScalarNode(textKey), scalar),
            _ => throw Error(item, $"each of {key} is a text or a mapping"),
        };
        var reader = Nested(mapping, key);
        var result = read(reader);
        reader.Finish();
        return result;
    }

    private string Scalar(YamlNode value, string key) => value is YamlScalarNode { Value: { } text }
        ? text.Contains('\0', StringComparison.Ordinal) ? throw Error(value, $"{key} contains a NUL character") : text
        : throw Error(value, $"{key} is a text, not a list or a mapping");

    private static bool IsNull(YamlNode value) =>
        value is YamlScalarNode { Style: ScalarStyle.Plain, Value: null or "" or "~" or "null" };
}
