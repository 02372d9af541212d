using System.Text;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Types;

/// <summary>Collects the names of types that are most like a misspelt one. Not thread-safe.</summary>
internal sealed class NearTypeNames(string name, int limit)
{
    private readonly byte[] _wanted = Encoding.UTF8.GetBytes(name);
    private readonly SortedSet<(int Distance, string Name)> _best = [];

    /// <summary>The best first, with their tags as C writes them.</summary>
    public IReadOnlyList<string> Names => [.. _best.Select(b => b.Name)];

    public void Add(TypeTag tag, ReadOnlySpan<byte> candidate)
    {
        // A word of 8 letters may have 2 wrong ones, a short one 1.
        var most = Math.Clamp(_wanted.Length / 4, 1, 4);
        var distance = SymbolNameMatching.Distance(_wanted, candidate, most);
        if (distance > most)
        {
            // The right word with something before or behind it is a suggestion too.
            if (_wanted.Length < 4 || candidate.IndexOf(_wanted) < 0)
            {
                return;
            }

            distance = most + 1 + candidate.Length - _wanted.Length;
        }

        if (_best.Count == limit && distance > _best.Max.Distance)
        {
            return;
        }

        var text = Encoding.UTF8.GetString(candidate);
        _best.Add((distance, tag switch { TypeTag.Struct => "struct " + text, TypeTag.Union => "union " + text, TypeTag.Enum => "enum " + text, _ => text }));
        if (_best.Count > limit)
        {
            _best.Remove(_best.Max);
        }
    }
}
