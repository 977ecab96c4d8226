"""Make census.csv, the table of aliased.R: words that repeat numbers, and two columns that share a level.

Run from this folder: python make_table.py && Rscript aliased.R
"""

from pathlib import Path

import numpy as np
import pandas as pd

N_ROWS = 240
YEARS = {"10th": 6, "Bachelors": 13, "HS": 9, "Masters": 14}

random = np.random.default_rng(0)
education = random.choice(list(YEARS), N_ROWS, p=[0.2, 0.3, 0.35, 0.15])
unknown = random.uniform(size=N_ROWS) < 0.15
table = pd.DataFrame(
    {
        "age": random.integers(18, 70, N_ROWS),
        "education_num": [YEARS[word] for word in education],
        "workclass": np.where(unknown, "Unknown", random.choice(["Gov", "Private", "Self"], N_ROWS)),
        "education": education,
        "occupation": np.where(unknown, "Unknown", random.choice(["Clerk", "Sales", "Tech"], N_ROWS)),
    }
)
logit = 0.04 * (table["age"] - 40) + 0.2 * (table["education_num"] - 10) + 0.8 * (table["workclass"] == "Self")
table["income"] = (logit + random.logistic(size=N_ROWS) > 0).astype(int)
utility = np.outer(logit, [0.0, 0.5, -0.4]) + random.gumbel(size=(N_ROWS, 3))
table["class3"] = utility.argmax(axis=1)
table["weight"] = random.integers(1, 4, N_ROWS)
table.to_csv(Path(__file__).with_name("census.csv"), index=False)
