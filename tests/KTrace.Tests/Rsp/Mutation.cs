namespace KTrace.Tests.Rsp;

/// <summary>Small damage to bytes, from a seeded generator: flips, cuts, repeats, insertions.</summary>
internal static class Mutation
{
    public static byte[] Of(Random random, byte[] bytes)
    {
        var result = new List<byte>(bytes);
        for (var changes = random.Next(1, 5); changes > 0 && result.Count > 0; changes--)
        {
            var at = random.Next(result.Count);
            switch (random.Next(5))
            {
                case 0:
                    result[at] = (byte)random.Next(256);
                    break;
                case 1:
                    result[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 2:
                    result.RemoveRange(at, Math.Min(random.Next(1, 20), result.Count - at));
                    break;
                case 3:
                    result.InsertRange(at, result.GetRange(at, Math.Min(random.Next(1, 20), result.Count - at)));
                    break;
                default:
                    result.Insert(at, "#$}*+-;:,<>&\"/="u8[random.Next(15)]);
                    break;
            }
        }

        return [.. result];
    }
}
