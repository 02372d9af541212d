// Types as a C programmer writes them: DWARF 5, chapter 5. Enough to read a parameter list; the type graph is another room's.
using System.Text;

namespace KTrace.Symbols.Dwarf;

internal static class TypeNames
{
    // Deeper than any declaration a person can read; a cycle of types ends here.
    private const int MaximumDepth = 24;
    private const int MaximumParameters = 32;

    // A function type may name other function types many times each; this many DIEs make a line that nobody reads.
    private const int MaximumTypes = 200;

    /// <summary>The type at <paramref name="type"/> (bytes from the start of .debug_info; -1 is void). Damage is written as "?".</summary>
    public static string Describe(Unit unit, long type)
    {
        var left = MaximumTypes;
        return Declare(unit, type, "", 0, ref left);
    }

    // C declares inside out: what is known so far stands around the name's place.
    private static string Declare(Unit unit, long type, string declarator, int depth, ref int left)
    {
        if (type < 0)
        {
            return Join("void", declarator);
        }

        if (depth > MaximumDepth || --left < 0 || !DieFacts.TryRead(unit, type, out var facts))
        {
            return Join("?", declarator);
        }

        unit = facts.Unit;
        switch (facts.Tag)
        {
            case DwTag.PointerType:
                return Declare(unit, facts.Type, "*" + declarator, depth + 1, ref left);
            case DwTag.ReferenceType:
                return Declare(unit, facts.Type, "&" + declarator, depth + 1, ref left);
            case DwTag.RvalueReferenceType:
                return Declare(unit, facts.Type, "&&" + declarator, depth + 1, ref left);
            case DwTag.ConstType:
                return Qualify(unit, in facts, "const", declarator, depth, ref left);
            case DwTag.VolatileType:
                return Qualify(unit, in facts, "volatile", declarator, depth, ref left);
            case DwTag.RestrictType:
                return Qualify(unit, in facts, "restrict", declarator, depth, ref left);
            case DwTag.AtomicType:
                return Qualify(unit, in facts, "_Atomic", declarator, depth, ref left);
            case DwTag.ArrayType:
                return Declare(unit, facts.Type, Inner(declarator) + Bounds(in facts), depth + 1, ref left);
            case DwTag.SubroutineType:
                return Declare(unit, facts.Type, $"{Inner(declarator)}({Parameters(in facts, depth, ref left)})", depth + 1, ref left);
            case DwTag.StructureType:
                return Join("struct " + Named(in facts), declarator);
            case DwTag.ClassType:
                return Join(Named(in facts), declarator);
            case DwTag.UnionType:
                return Join("union " + Named(in facts), declarator);
            case DwTag.EnumerationType:
                return Join("enum " + Named(in facts), declarator);
            default:
                return Join(facts.Name.IsNone ? "?" : unit.Sections.Text(facts.Name), declarator);
        }
    }

    // A qualifier of a pointer stands behind the star, of anything else before the name.
    private static string Qualify(Unit unit, in DieFacts facts, string qualifier, string declarator, int depth, ref int left)
    {
        if (facts.Type >= 0 && DieFacts.TryRead(unit, facts.Type, out var inner) && inner.Tag == DwTag.PointerType)
        {
            return Declare(unit, facts.Type, " " + qualifier + (declarator.Length > 0 ? " " + declarator : ""), depth + 1, ref left);
        }

        return qualifier + " " + Declare(unit, facts.Type, declarator, depth + 1, ref left);
    }

    private static string Inner(string declarator) => declarator.Length > 0 && declarator[0] is '*' or '&' ? $"({declarator})" : declarator;

    private static string Join(string name, string declarator) =>
        declarator.Length == 0 || declarator[0] == '[' ? name + declarator : name + " " + declarator.TrimStart();

    private static string Named(in DieFacts facts) => facts.Name.IsNone ? "{…}" : facts.Unit.Sections.Text(facts.Name);

    private static string Bounds(in DieFacts array)
    {
        var text = new StringBuilder();
        foreach (var child in Children(in array, DwTag.SubrangeType))
        {
            text.Append('[').Append(child.Count >= 0 ? child.Count.ToString(System.Globalization.CultureInfo.InvariantCulture) : "").Append(']');
        }

        return text.Length > 0 ? text.ToString() : "[]";
    }

    private static string Parameters(in DieFacts function, int depth, ref int left)
    {
        var text = new StringBuilder();
        foreach (var child in Children(in function, DwTag.FormalParameter, DwTag.UnspecifiedParameters))
        {
            text.Append(text.Length > 0 ? ", " : "")
                .Append(child.Tag == DwTag.FormalParameter ? Declare(child.Unit, child.Type, "", depth + 1, ref left) : "...");
        }

        return text.Length > 0 ? text.ToString() : "void";
    }

    /// <summary>The direct children of those tags, at most 32.</summary>
    internal static List<DieFacts> Children(in DieFacts parent, ushort tag, ushort otherTag = 0, int limit = MaximumParameters)
    {
        var children = new List<DieFacts>();
        if (!parent.HasChildren)
        {
            return children;
        }

        foreach (var entry in ChildEntries(parent.Unit, parent.FirstChild, tag, otherTag, limit))
        {
            if (DieFacts.TryRead(parent.Unit, entry, out var child))
            {
                children.Add(child);
            }
        }

        return children;
    }

    private static unsafe int[] ChildEntries(Unit unit, int firstChild, ushort tag, ushort otherTag, int limit)
    {
        var entries = new GrowingNumbers();
        fixed (byte* bytes = unit.Sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, firstChild);
            while (entries.Count < limit && !reader.AtEnd && reader.ReadEntry())
            {
                if (reader.Entry.Tag == tag || reader.Entry.Tag == otherTag)
                {
                    entries.Add(reader.EntryOffset);
                }

                reader.SkipTree();
            }
        }

        return entries.ToArray();
    }
}
