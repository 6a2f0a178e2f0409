"""A net for a table, without a learning rate."""

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from galatune import GalaClassifier

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
model = GalaClassifier(random_state=0).fit(X_train, y_train)
print(f"accuracy {model.score(X_test, y_test):.3f}")
